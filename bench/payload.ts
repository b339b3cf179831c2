// What the events of a measurement carry: a mark that nothing else on the wire contains, and a number, so that the
// load can count what arrives and see that it is in order without parsing it.

export const MARK = 0x7e
export const DIGITS = 7
export const STAMP_DIGITS = 16
const fills = new Map<number, string>()

function fill(length: number): string {
  const known = fills.get(length)
  if (known !== undefined) return known
  const made = 'x'.repeat(Math.max(0, length))
  fills.set(length, made)
  return made
}

/** The data of event `n`: `bytes` long. */
export function payload(n: number, bytes: number): string {
  return `~${String(n).padStart(DIGITS, '0')}${fill(bytes - DIGITS - 1)}`
}

/**
 * The data of so many events, made before anything is measured: to make one costs up to a third of what the fastest
 * take for an event. Each is one flat string, as `JSON.stringify` or a driver hands them out.
 */
export function payloads(count: number, bytes: number, first = 0): string[] {
  const text = Buffer.from(payload(0, bytes))
  return Array.from({ length: count }, (_, index) => {
    text.write(String(first + index).padStart(DIGITS, '0'), 1, 'latin1')
    return text.toString('latin1')
  })
}

/** As {@link payload}, with the time at which it was made. */
export function stamped(n: number, bytes: number): string {
  return `~${String(n).padStart(DIGITS, '0')}${String(microseconds()).padStart(STAMP_DIGITS, '0')}${fill(bytes - DIGITS - STAMP_DIGITS - 1)}`
}

/** The clock that all processes of a machine share. */
export function microseconds(): number {
  return Number(process.hrtime.bigint() / 1_000n)
}
