/**
 * Terms as lines of text: one a line, with or without weights.
 *
 * The server reads a file so: numbers at the ends of lines are weights if every line has one. What is written here is
 * read by it, and by this, as what it was.
 *
 * @typedef {{text: string, weight?: number}} Term without a weight: as usual in its list
 */

const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;
const SEPARATORS = /[\r\n,，、;；]+/;
const DIGITS = 4;

/** The lines that say something. */
export const linesOf = (text) =>
  text
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter(Boolean);

/** A line that ends in a number, in two; null: it does not. */
function parted(line) {
  const at = Math.max(line.lastIndexOf(" "), line.lastIndexOf("\t"), line.lastIndexOf("\u3000"));
  const tail = line.slice(at + 1);
  if (at < 1 || !NUMBER.test(tail) || !Number.isFinite(Number(tail))) return null;
  return { text: line.slice(0, at).trim(), weight: Number(tail) };
}

/** How many lines there are, and how many of them end in a number. */
export function counted(text) {
  const lines = linesOf(text);
  return { lines: lines.length, numbered: lines.filter((line) => parted(line) !== null).length };
}

/**
 * What lines say; `weighted`: a number at the end is a weight.
 * @returns {Term[]}
 */
export const termsOf = (text, weighted) =>
  linesOf(text).map((line) => (weighted && parted(line)) || { text: line });

/**
 * Terms as lines. They have weights where any differs, and where their own ends would be taken for some; never where
 * `weights` is false.
 * @param {Term[]} terms
 * @returns {{text: string, weighted: boolean}}
 */
export function drawn(terms, weights) {
  const weight = usual(terms);
  const differ = terms.some((term) => (term.weight ?? weight) !== weight);
  const unclear = terms.length > 0 && terms.every(({ text }) => parted(text) !== null);
  const weighted = weights && (differ || unclear);
  const line = (term) => (weighted ? `${term.text} ${Number((term.weight ?? weight).toPrecision(DIGITS))}` : term.text);
  return { text: terms.map(line).join("\n"), weighted };
}

/** The middle one of the weights that there are. */
function usual(terms) {
  const weights = terms.flatMap(({ weight }) => weight ?? []).toSorted((a, b) => a - b);
  return weights.length > 0 ? weights[Math.floor(weights.length / 2)] : 1;
}

/** A file's text as lines for the visitor: what stands between commas is parted, but a column of weights stays. */
export function importedLines(text) {
  const lines = linesOf(text);
  const columns = lines.map((line) => line.split(","));
  if (lines.length > 0 && columns.every((parts) => parts.length === 2 && NUMBER.test(parts[1].trim())))
    return columns.map((parts) => parts.map((part) => part.trim()).join(" "));
  return text
    .split(SEPARATORS)
    .map((part) => part.trim())
    .filter(Boolean);
}
