import type { Diagnosis, Finding } from './diagnosis.js'
import { mendFor } from './mend.js'
import { notesOn } from './notes.js'
import { NAMES, recognise } from './recognise.js'
import { REFUSALS } from './refusals.js'
import { type Rule, type Seen, see } from './seen.js'
import { STREAMING } from './streaming.js'
import type { Trace } from './trace.js'

/**
 * Judges what a probe saw. Pure: the same traces always give the same diagnosis.
 *
 * @param trace - of the path that clients take.
 * @param originTrace - of the same stream at its origin, probed at the same time: it tells what the proxy does from what
 * the application does.
 * @example
 * ```ts
 * const [trace, origin] = await Promise.all([probe('https://app.example/events'), probe('http://10.0.0.5:3000/events')])
 * const { verdict, line, mend } = diagnose(trace, origin)
 * ```
 */
export function diagnose(trace: Trace, originTrace?: Trace): Diagnosis {
  const seen = see(trace, originTrace)
  const refusal = firstOf(REFUSALS, seen)
  // Behind an answer that is no stream, the rules for streams have nothing to say.
  const found = refusal ? [refusal] : all(STREAMING, seen)
  const [first] = found
  if (!first) throw new Error('the last rule applies to everything')
  const also = found.filter(({ verdict, outcome }) => outcome === 'problem' && verdict !== first.verdict)
  const recognised = recognise(trace)
  return {
    verdict: first.verdict,
    outcome: first.outcome,
    line: first.line,
    reason: first.reason,
    where: first.where,
    evidence: first.evidence,
    notes: notesOn(seen),
    also: [...new Set(also.map(({ verdict }) => verdict))],
    recognised,
    mend: mendFor(first, recognised, NAMES),
  }
}

function firstOf(rules: readonly Rule[], seen: Seen): Finding | undefined {
  for (const { judge } of rules) {
    const finding = judge(seen)
    if (finding) return finding
  }
  return undefined
}

/** The first is the verdict; those behind it are named as well. */
function all(rules: readonly Rule[], seen: Seen): Finding[] {
  return rules.flatMap(({ judge }) => judge(seen) ?? [])
}
