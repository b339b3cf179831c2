/** What `localStorage` is, in memory, and with what it was asked. */
export class Area {
  readonly map = new Map<string, string>()
  readonly log: string[] = []

  get length(): number {
    return this.map.size
  }

  key(index: number): string | null {
    return [...this.map.keys()][index] ?? null
  }

  getItem(key: string): string | null {
    return this.map.get(key) ?? null
  }

  setItem(key: string, value: string): void {
    this.log.push('set')
    this.map.set(key, value)
  }

  removeItem(key: string): void {
    this.log.push('remove')
    this.map.delete(key)
  }
}
