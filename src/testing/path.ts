import type { Clock } from '../protocol/clock.js'
import type { Fault } from './faults.js'

/** A body on its way: pulled from the client's side, piece by piece. */
export interface Path {
  /** The next bytes, or `null` at the end. Rejects when the connection breaks. */
  pull(): Promise<Uint8Array | null>
  /** The client's side is gone. */
  cancel(): void
}

/** What a fault on the path may use. */
export interface PathContext {
  readonly clock: Clock
  readonly random: () => number
}

const GZIP_BLOCK_BYTES = 16 * 1024
const SLOW_STEP_MS = 100

/** The body of a response, as the beginning of a path. */
export function pathOf(body: ReadableStream<Uint8Array> | null): Path {
  const reader = body?.getReader()
  return {
    async pull() {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
      return done || !value ? null : value
    },
    cancel() {
      reader?.cancel().catch(() => {})
    },
  }
}

/** Whether a fault holds the head back until the first bytes pass it. */
export function holdsHead(fault: Fault): boolean {
  return fault.kind === 'buffering'
}

/** The path with one fault more on it. */
export function withFault(path: Path, fault: Fault, context: PathContext): Path {
  switch (fault.kind) {
    case 'slow':
      return slow(path, fault.bytesPerSecond, context)
    case 'stalled':
      return afterBytes(path, fault.afterBytes, () => never())
    case 'buffering':
      return gathered(path, fault.bytes)
    case 'gzip':
      return gathered(path, GZIP_BLOCK_BYTES)
    case 'holdLast':
      return heldBack(path)
    case 'dropping':
      return fault.afterBytes === 'head' ? path : dropped(path, fault.afterBytes, fault.orderly === true)
    case 'halfOpen':
      return halfOpen(path, fault.afterBytes)
    case 'idle':
      return timed(path, context.clock, fault.ms, false)
    case 'flap':
      return timed(path, context.clock, fault.ms, true)
    case 'split':
      return split(path, fault.bytes, context.random)
    default:
      return path
  }
}

export function broken(): TypeError {
  return new TypeError('terminated')
}

function never(): Promise<never> {
  return new Promise(() => {})
}

/** Hands on pieces of at most the size that `next` says, keeping the rest. */
function cut(path: Path, next: () => number): Path {
  let rest: Uint8Array | undefined
  return {
    async pull() {
      const bytes = rest ?? (await path.pull())
      if (bytes === null) return null
      const size = Math.max(1, next())
      rest = bytes.length > size ? bytes.subarray(size) : undefined
      return bytes.subarray(0, size)
    },
    cancel: () => path.cancel(),
  }
}

function split(path: Path, bytes: number | undefined, random: () => number): Path {
  return cut(path, () => bytes ?? 1 + Math.floor(random() * 7))
}

function slow(path: Path, bytesPerSecond: number, { clock }: PathContext): Path {
  const pieces = cut(path, () => Math.ceil((bytesPerSecond * SLOW_STEP_MS) / 1_000))
  let cancelWait: (() => void) | undefined
  return {
    async pull() {
      const bytes = await pieces.pull()
      if (bytes !== null) {
        const ms = (bytes.length * 1_000) / bytesPerSecond
        await new Promise<void>((resolve) => {
          cancelWait = clock.setTimeout(resolve, ms)
        })
      }
      return bytes
    },
    cancel() {
      cancelWait?.()
      pieces.cancel()
    },
  }
}

/** Lets so many bytes through, then does `then` instead of pulling. */
function afterBytes(path: Path, bytes: number, then: () => Promise<Uint8Array | null>): Path {
  let left = bytes
  const pieces = cut(path, () => left)
  return {
    async pull() {
      if (left <= 0) return then()
      const piece = await pieces.pull()
      left -= piece?.length ?? 0
      return piece
    },
    cancel: () => path.cancel(),
  }
}

function dropped(path: Path, bytes: number, orderly: boolean): Path {
  return afterBytes(path, bytes, () => {
    path.cancel()
    return orderly ? Promise.resolve(null) : Promise.reject(broken())
  })
}

function halfOpen(path: Path, bytes: number): Path {
  let isOpen = true
  const through = afterBytes(path, bytes, () => {
    isOpen = false
    return never()
  })
  return {
    pull: () => through.pull(),
    // Once half open, nothing that the client does reaches the server.
    cancel: () => isOpen && path.cancel(),
  }
}

/** Passes bytes on in lots of at least `bytes`, or at the end. */
function gathered(path: Path, bytes: number): Path {
  let isEnded = false
  return {
    async pull() {
      const held: Uint8Array[] = []
      let size = 0
      while (!isEnded && size < bytes) {
        const piece = await path.pull()
        if (piece === null) isEnded = true
        else {
          held.push(piece)
          size += piece.length
        }
      }
      return size === 0 && isEnded ? null : joined(held, size)
    },
    cancel: () => path.cancel(),
  }
}

function joined(pieces: readonly Uint8Array[], size: number): Uint8Array {
  const all = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    all.set(piece, at)
    at += piece.length
  }
  return all
}

function heldBack(path: Path): Path {
  let held: Uint8Array | null | undefined
  return {
    async pull() {
      held ??= await path.pull()
      if (held === null || held === undefined) return null
      const present = held
      held = await path.pull()
      return present
    },
    cancel: () => path.cancel(),
  }
}

/** Ends the path after `ms`: of silence, with a break, or at all, in order. */
function timed(path: Path, clock: Clock, ms: number, isFlap: boolean): Path {
  const begun = clock.now()
  let cancelTimer: (() => void) | undefined
  return {
    async pull() {
      const left = isFlap ? Math.max(0, begun + ms - clock.now()) : ms
      try {
        return await Promise.race([
          path.pull(),
          new Promise<null>((resolve, reject) => {
            cancelTimer = clock.setTimeout(() => {
              path.cancel()
              if (isFlap) resolve(null)
              else reject(broken())
            }, left)
          }),
        ])
      } finally {
        cancelTimer?.()
      }
    },
    cancel() {
      cancelTimer?.()
      path.cancel()
    },
  }
}
