/**
 * Calls what is the user's, whose faults shall break nothing here: what it throws is dropped. Types do not keep an
 * async function out, whose promise says nothing.
 */
export function quietly(call: () => unknown): unknown {
  try {
    const said = call()
    if (said instanceof Promise) said.catch(() => {})
    return said
  } catch {
    return undefined
  }
}
