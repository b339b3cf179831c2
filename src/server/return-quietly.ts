/** Ends an iterable. Not awaited: one that is busy answers only after its next value. */
export function returnQuietly(iterator: AsyncIterator<unknown>): void {
  const run = async () => iterator.return?.()
  run().catch(() => {})
}
