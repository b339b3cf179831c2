/** Data link escape: rare in text, and absent from JSON. */
const ESCAPE = '\x10'
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about.
const NEEDS_ESCAPE = /[\0\x10]/
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about.
const ESCAPED = /\x10([01]|u[0-9a-f]{4})/g

/**
 * A string as PostgreSQL can hold it. Its text knows no U+0000, and no half of a surrogate pair; they are stored as
 * U+0010 with `0` or `u` and four digits, and U+0010 itself as U+0010 with `1`. Everything else stays as it is.
 */
export function toText(value: string): string {
  if (!NEEDS_ESCAPE.test(value) && value.isWellFormed()) return value
  let text = ''
  for (const character of value) {
    if (character === '\0') text += `${ESCAPE}0`
    else if (character === ESCAPE) text += `${ESCAPE}1`
    else if (character.isWellFormed()) text += character
    else text += `${ESCAPE}u${character.charCodeAt(0).toString(16)}`
  }
  return text
}

/** The string that `toText` was given. */
export function fromText(text: string): string {
  if (!text.includes(ESCAPE)) return text
  return text.replace(ESCAPED, (_, what: string) => {
    if (what === '0') return '\0'
    return what === '1' ? ESCAPE : String.fromCharCode(Number.parseInt(what.slice(1), 16))
  })
}

/** 53 bits that stand for a stream in a hint: two of one sum cost a look too many, and nothing else. */
export function shortHash(text: string): string {
  let [high, low] = [0xdeadbeef, 0x41c6ce57]
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    high = Math.imul(high ^ code, 2654435761)
    low = Math.imul(low ^ code, 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909)
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909)
  return (4294967296 * (2097151 & low) + (high >>> 0)).toString(36)
}
