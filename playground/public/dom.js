/** Writes a text only when it changed, or a screen reader would be told again and again. */
export function show(place, value) {
  if (place.textContent !== String(value)) place.textContent = value
}

/** Tells the visitor what happens, and, set apart, which promise holds. */
export function tell(place, text) {
  const [what, promise] = text.split(' Promise: ')
  place.textContent = what
  if (promise) place.append(Object.assign(document.createElement('strong'), { textContent: `Promise: ${promise}` }))
}

/** Puts a row on top of a list, which keeps only the newest. */
export function prepend(list, className, cells, most = 100) {
  const row = document.createElement('li')
  row.className = className
  row.append(...cells.map((text) => Object.assign(document.createElement('span'), { textContent: text })))
  list.prepend(row)
  while (list.childElementCount > most) list.lastElementChild.remove()
  return row
}

export function seconds(ms) {
  return `${(ms / 1_000).toFixed(1)} s`
}

/** Asks the server for something, and resolves with what it says. Never rejects. */
export async function control(name) {
  try {
    const response = await fetch(`/control/${name}`, { method: 'POST' })
    const { text } = await response.json()
    return { ok: response.ok, text }
  } catch {
    return { ok: false, text: 'The server does not answer.' }
  }
}
