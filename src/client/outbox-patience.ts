import type { Clock } from '../protocol/clock.js'

/** A storage that takes longer is not waited for. */
const PATIENCE_MS = 5_000

/** Asks a storage, or for a lock, waits for no answer longer than five seconds, and knows when one hangs. */
export interface Patience {
  /** Something hangs: what would be asked now would pile up behind it. */
  readonly isStuck: boolean
  /**
   * What comes of it in time; `undefined` when it fails, which is reported.
   *
   * @param end - gives it up.
   */
  ask<T>(begin: () => Promise<T>, what: string, end?: AbortSignal): Promise<T | undefined>
  /** Resolves when nothing is waited for. */
  over(): Promise<unknown>
}

/** @param onBack - called when what hung has answered. */
export function patienceWith(
  who: 'storage' | 'lock manager',
  clock: Clock,
  onError: (error: unknown) => void,
  onBack: () => void,
): Patience {
  const asked = new Set<Promise<unknown>>()
  let isStuck = false

  return {
    get isStuck() {
      return isStuck
    },
    ask<T>(begin: () => Promise<T>, what: string, end?: AbortSignal) {
      if (end?.aborted) return Promise.resolve(undefined)
      const answer = new Promise<T | undefined>((resolve) => {
        const finish = (value?: T) => {
          cancel()
          end?.removeEventListener('abort', giveUp)
          asked.delete(answer)
          resolve(value)
        }
        const giveUp = () => finish()
        const failed = (error: unknown) => {
          onError(error)
          finish()
        }
        const cancel = clock.setTimeout(() => {
          isStuck = true
          failed(new Error(`The ${who} did not answer within ${PATIENCE_MS} ms (${what})`))
        }, PATIENCE_MS)
        end?.addEventListener('abort', giveUp)
        const attempt = async () => begin()
        void attempt()
          .then(finish, failed)
          .then(() => {
            if (isStuck) {
              isStuck = false
              onBack()
            }
          })
      })
      asked.add(answer)
      return answer
    },
    over: () => Promise.all(asked),
  }
}
