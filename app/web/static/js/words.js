/** Words with times, laid over the text they were said in, which also has marks and spaces. */

/**
 * `text` cut into pieces that join to it again. Each begins with a word and has its times, or has none.
 * @param {string} text
 * @param {{text: string, start: number, end: number}[]} words in order
 * @returns {{text: string, start?: number, end?: number}[]}
 */
export function pieces(text, words) {
  const found = [];
  const searched = text.toLowerCase();
  let from = 0;
  for (const word of words) {
    const bare = word.text.trim().toLowerCase();
    const at = bare === "" ? -1 : searched.indexOf(bare, from);
    if (at < 0) continue; // written otherwise in the text: a number, say
    found.push({ at, length: bare.length, start: word.start, end: word.end });
    from = at + bare.length;
  }
  const cut = [];
  let done = 0;
  for (const { at, length, start, end } of found) {
    if (at > done) cut.push({ text: text.slice(done, at) });
    cut.push({ text: text.slice(at, at + length), start, end });
    done = at + length;
  }
  if (done < text.length) cut.push({ text: text.slice(done) });
  return cut;
}
