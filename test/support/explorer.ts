import type {
  AppendEvent,
  Appended,
  EventStore,
  Hint,
  Page,
  ReadOptions,
  StreamView,
} from '../../src/protocol/store.js'
import type { ModelStore } from './model-store.js'

/** Something that can happen now; whoever explores says what happens first. */
interface Task {
  readonly name: string
  readonly run: () => void
  /** The other thing that can become of it. */
  readonly lose: (() => void) | undefined
}

/** Says which of `count` things happens next. */
export type Choose = (count: number) => number

/**
 * What is under way, in no order but that which is chosen: every answer of a store, every hint, every act of a script.
 */
export class Explorer {
  /** What was done, to be read when something went wrong. */
  readonly trace: string[] = []
  readonly #tasks: Task[] = []
  readonly #choose: Choose
  /** How many hints may still be lost. */
  #losses: number

  constructor(choose: Choose, losses: number) {
    this.#choose = choose
    this.#losses = losses
  }

  get idle(): boolean {
    return this.#tasks.length === 0
  }

  add(name: string, run: () => void, lose?: () => void): void {
    this.#tasks.push({ name, run, lose })
  }

  /** Does one thing. @param isFree - whether it is chosen; else the oldest. */
  step(isFree: boolean): void {
    const losable = this.#losses > 0 ? this.#tasks.filter(({ lose }) => lose !== undefined) : []
    const count = this.#tasks.length + losable.length
    const chosen = isFree && count > 1 ? this.#choose(count) : 0
    const lost = losable[chosen - this.#tasks.length]
    const task = lost ?? this.#tasks[chosen]
    if (!task) return
    this.#tasks.splice(this.#tasks.indexOf(task), 1)
    this.trace.push(lost ? `lost: ${task.name}` : task.name)
    if (lost) this.#losses--
    ;(lost?.lose ?? task.run)()
  }
}

/** A store whose every answer and every hint waits for the explorer. It does its work when it is asked, or later. */
export class ExploredStore implements EventStore {
  readonly pollMs: number
  readonly #inner: ModelStore
  readonly #explorer: Explorer
  readonly #isLate: boolean

  /** @param isLate - whether a call takes effect at a moment of its own, after it was made. */
  constructor(inner: ModelStore, explorer: Explorer, isLate: boolean) {
    this.#inner = inner
    this.#explorer = explorer
    this.#isLate = isLate
    this.pollMs = inner.pollMs
  }

  append(stream: string, events: readonly AppendEvent[]): Promise<readonly Appended[]> {
    return this.#answer(`append ${events.map(({ data }) => data)}`, () => this.#inner.append(stream, events))
  }

  open(stream: string): Promise<StreamView> {
    return this.#answer('open', () => this.#inner.open(stream))
  }

  read(stream: string, offset: number, options: ReadOptions): Promise<Page | null> {
    return this.#answer(`read ${offset}`, () => this.#inner.read(stream, offset, options))
  }

  async watch(stream: string, hint: Hint): Promise<() => void> {
    const inner: Hint = (to) =>
      this.#explorer.add(
        `hint ${to?.head}`,
        () => hint(to),
        () => {},
      )
    return this.#answer('watch', () => this.#inner.watch(stream, inner))
  }

  seal(stream: string): Promise<StreamView> {
    return this.#answer('seal', () => this.#inner.seal(stream))
  }

  #answer<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    return new Promise((resolve) => {
      const act = () => {
        const result = work()
        this.#explorer.add(`${name} answered`, () => resolve(result))
      }
      if (this.#isLate) this.#explorer.add(name, act)
      else act()
    })
  }
}

/** Walks through all ways to choose, depth first. */
export class Everything {
  #path: number[] = []
  #widths: number[] = []
  #at = 0
  #isOver = false

  /** Whether there is a way that was not gone yet; begins it. */
  next(): boolean {
    if (this.#isOver) return false
    this.#at = 0
    return true
  }

  readonly choose: Choose = (count) => {
    const at = this.#at++
    if (at === this.#path.length) {
      this.#path.push(0)
      this.#widths.push(count)
    }
    return this.#path[at] ?? 0
  }

  /** Ends a way: the last choice that could have been another will be. */
  done(): void {
    while (this.#path.length > 0 && (this.#path.at(-1) ?? 0) + 1 >= (this.#widths.at(-1) ?? 0)) {
      this.#path.pop()
      this.#widths.pop()
    }
    const last = this.#path.length - 1
    if (last < 0) this.#isOver = true
    else this.#path[last] = (this.#path[last] ?? 0) + 1
  }
}
