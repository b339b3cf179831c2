/** Runs users' code where nothing may be thrown; returns whether it went well. */
export function guarded(onError: ((error: unknown) => void) | undefined): (run: () => unknown) => boolean {
  return (run) => {
    try {
      const result: unknown = run()
      // Types do not keep an async function out; what it rejects with must not end the process.
      if (result instanceof Promise) result.catch((error: unknown) => reportTo(onError, error))
      return true
    } catch (error) {
      reportTo(onError, error)
      return false
    }
  }
}

export function reportTo(onError: ((error: unknown) => void) | undefined, error: unknown): void {
  try {
    if (!onError) {
      console.error('steady-sse:', error)
      return
    }
    const result: unknown = onError(error)
    if (result instanceof Promise) result.catch(() => {})
  } catch {
    // A reporter that throws has been told all the same.
  }
}
