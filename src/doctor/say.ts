/** A duration as people say it: `40 ms`, `1.5 s`, `60 s`. */
export function seconds(ms: number): string {
  if (ms < 950) return `${Math.round(ms)} ms`
  return `${ms < 9_950 ? Number((ms / 1_000).toFixed(1)) : Math.round(ms / 1_000)} s`
}

/** A number of bytes: `4.0 KiB`. */
export function size(bytes: number): string {
  if (bytes < 1_024) return `${bytes} B`
  return bytes < 1_048_576 ? `${(bytes / 1_024).toFixed(1)} KiB` : `${(bytes / 1_048_576).toFixed(1)} MiB`
}

export function count(number: number, one: string): string {
  return `${number} ${one}${number === 1 ? '' : 's'}`
}
