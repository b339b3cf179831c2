// Charts as SVG files, readable on a light and on a dark page.

const STYLE = `<style>
text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#24292f}.title{font-size:15px;font-weight:600}.quiet{fill:#57606a;font-size:11px}
.bar{fill:#8c959f}.own{fill:#0969da}.rule{stroke:#d0d7de;stroke-width:1}.whisker{stroke:#24292f;stroke-width:1}
.line{fill:none;stroke-width:2}.s0{stroke:#0969da}.s1{stroke:#cf222e}.s2{stroke:#9a6700}.s3{stroke:#8250df}
.k0{fill:#0969da}.k1{fill:#cf222e}.k2{fill:#9a6700}.k3{fill:#8250df}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#8d96a0}.bar{fill:#6e7681}.own{fill:#4493f8}.rule{stroke:#3d444d}.whisker{stroke:#e6edf3}
.s0{stroke:#4493f8}.s1{stroke:#ff7b72}.s2{stroke:#d29922}.s3{stroke:#bc8cff}.k0{fill:#4493f8}.k1{fill:#ff7b72}.k2{fill:#d29922}.k3{fill:#bc8cff}}
</style>`

export interface Bar {
  readonly name: string
  readonly value: number
  readonly min?: number | undefined
  readonly max?: number | undefined
  /** What is written at its end. */
  readonly label: string
}

/** Bars from left to right, with whiskers from the least to the most that was measured. */
export function bars(title: string, given: readonly Bar[]): string {
  const [width, left, right, line] = [640, 192, 92, 26]
  const height = 44 + given.length * line
  const most = Math.max(...given.map(({ value, max }) => max ?? value), Number.MIN_VALUE)
  const x = (value: number) => left + (value / most) * (width - left - right)
  const rows = given.map(({ name, value, min, max, label }, index) => {
    const y = 36 + index * line
    const isOwn = name.startsWith('steady-sse')
    const whisker =
      min === undefined || max === undefined || min === max
        ? ''
        : `<line class="whisker" x1="${x(min).toFixed(1)}" x2="${x(max).toFixed(1)}" y1="${y + 9}" y2="${y + 9}"/>`
    return `<text x="${left - 8}" y="${y + 14}" text-anchor="end"${isOwn ? ' font-weight="600"' : ''}>${escaped(name)}</text>
<rect class="${isOwn ? 'own' : 'bar'}" x="${left}" y="${y}" width="${Math.max(1, x(value) - left).toFixed(1)}" height="18" rx="2"/>${whisker}
<text x="${(x(max ?? value) + 8).toFixed(1)}" y="${y + 14}">${escaped(label)}</text>`
  })
  return svg(title, width, height, rows.join('\n'))
}

export interface Line {
  readonly name: string
  /** Evenly spaced. */
  readonly values: readonly number[]
}

export interface LineChart {
  readonly title: string
  /** What one step of a line is, in seconds. */
  readonly stepS: number
  readonly unit: string
  readonly lines: readonly Line[]
}

/** Lines over time. */
export function lines({ title, stepS, unit, lines: given }: LineChart): string {
  const [width, height, left, right, top, bottom] = [640, 300, 76, 16, 64, 40]
  const most = Math.max(...given.flatMap(({ values }) => values.reduce((a, b) => Math.max(a, b), 0)), 1)
  const steps = Math.max(...given.map(({ values }) => values.length), 2)
  const x = (step: number) => left + (step / (steps - 1)) * (width - left - right)
  const y = (value: number) => height - bottom - (value / most) * (height - top - bottom)
  const rules = ticks(most).map(
    (value) =>
      `<line class="rule" x1="${left}" x2="${width - right}" y1="${y(value).toFixed(1)}" y2="${y(value).toFixed(1)}"/>
<text class="quiet" x="${left - 6}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${value.toLocaleString('en-US')}</text>`,
  )
  const seconds = ticks((steps - 1) * stepS).map(
    (second) =>
      `<text class="quiet" x="${x(second / stepS).toFixed(1)}" y="${height - bottom + 18}" text-anchor="middle">${second} s</text>`,
  )
  const drawn = given.map(({ values }, index) => {
    // After its last value a line is at nothing.
    const all = values.length < steps ? [...values, 0] : values
    const points = all.map((value, step) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`)
    return `<polyline class="line s${index}" points="${points.join(' ')}"/>`
  })
  const step = (width - 16) / given.length
  const keys = given.map(
    ({ name }, index) =>
      `<rect class="k${index}" x="${8 + index * step}" y="36" width="12" height="12" rx="2"/><text x="${25 + index * step}" y="46">${escaped(name)}</text>`,
  )
  const unitText = `<text class="quiet" x="${width - right}" y="${height - 6}" text-anchor="end">${escaped(unit)}</text>`
  return svg(title, width, height, [...rules, ...seconds, ...drawn.toReversed(), ...keys, unitText].join('\n'))
}

function ticks(most: number): number[] {
  const rough = most / 4
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1e-9)))
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10)
  const found: number[] = []
  for (let value = 0; value <= most; value += step) found.push(Math.round(value * 1e6) / 1e6)
  return found
}

function svg(title: string, width: number, height: number, body: string): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">
${STYLE}
<text class="title" x="8" y="20">${escaped(title)}</text>
${body}
</svg>
`
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`)
}
