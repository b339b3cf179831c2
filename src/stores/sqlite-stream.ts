/** The record of a stream, as it is changed in a transaction. */
export interface SqliteStream {
  readonly id: number
  /** As it is stored; `''` when the stream was given up. */
  readonly name: string
  readonly epoch: string
  head: number
  headTag: number
  headAt: number
  /** The oldest event in the file. */
  first: number
  firstTag: number
  firstAt: number
  bytes: number
  usedAt: number
  sealedUntil: number | undefined
  /** How many events the transaction has added. */
  added: number
}

type Row = Record<string, string | number | bigint | null | undefined>

/** Of a row, or of what a new record begins with. Drivers that were asked to give integers as bigints do so here, too. */
export function streamOf(row: unknown): SqliteStream {
  const {
    id,
    name,
    epoch,
    at,
    head = 0,
    head_tag: headTag = 0,
    head_at: headAt = at,
    first = 1,
    first_tag: firstTag = 0,
    first_at: firstAt = at,
    bytes = 0,
    used_at: usedAt = at,
    sealed_until: sealedUntil,
  } = row as Row
  return {
    id: Number(id),
    name: String(name ?? ''),
    epoch: String(epoch),
    head: Number(head),
    headTag: Number(headTag),
    headAt: Number(headAt),
    first: Number(first),
    firstTag: Number(firstTag),
    firstAt: Number(firstAt),
    bytes: Number(bytes),
    usedAt: Number(usedAt),
    sealedUntil: sealedUntil === null || sealedUntil === undefined ? undefined : Number(sealedUntil),
    added: 0,
  }
}
