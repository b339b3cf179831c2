import type { Answer } from './serve.js'

/** An ordinary answer instead of what was asked for, thrown from wherever that is known. */
export class Refusal extends Error {
  readonly answer: Answer

  constructor(status: number, reason: string, headers: Record<string, string> = {}) {
    super(reason)
    const all = { ...headers, 'content-type': 'text/plain; charset=utf-8' }
    this.answer = { kind: 'answer', status, headers: all, body: reason }
  }
}
