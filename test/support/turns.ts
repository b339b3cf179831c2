import { nextTurn } from '../../src/protocol/clock.js'

/** Gives everything that was set going a few turns of the event loop. */
export async function turns(count = 3): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => nextTurn(resolve))
}

/** Waits, turn by turn, until `check` holds. */
export async function until(check: () => boolean): Promise<void> {
  while (!check()) await turns(1)
}
