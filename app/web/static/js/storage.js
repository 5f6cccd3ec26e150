/** What the page remembers in this browser. A browser that forbids it forgets, and nothing else happens. */

function quietly(action) {
  try {
    return action();
  } catch {
    return null;
  }
}

/** Kept for the next visit: `read` gives null where there is nothing. Never for secrets. */
export const lasting = {
  read: (name) => quietly(() => localStorage.getItem(`speech.${name}`)),
  write: (name, value) => quietly(() => localStorage.setItem(`speech.${name}`, value)),
};

/** Kept until the tab is closed; null forgets. */
export const session = {
  read: (name) => quietly(() => sessionStorage.getItem(`speech.${name}`)),
  write: (name, value) =>
    quietly(() =>
      value === null ? sessionStorage.removeItem(`speech.${name}`) : sessionStorage.setItem(`speech.${name}`, value),
    ),
};
