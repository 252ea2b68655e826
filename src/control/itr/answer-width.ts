/**
 * How wide an answer is believed that nobody has proven (RFC 9301 §9: overclaiming).
 *
 * Who answers for one EID may name a wider prefix (RFC 9301 §5.5) and so draw the packets of all of it.
 * LISP-SEC binds the answer to what is registered (RFC 9303); without it nothing does. Our choice: such
 * an answer holds for what it says of the EID that was asked for, and for no more around it than a
 * configured width. Nothing is lost by that but further questions: the answer is narrowed, not refused.
 */
import { coversEid, type EidPrefix, eidFromPrefix, eidPrefix } from '../../lisp/eid.js'
import type { Mapping } from '../../lisp/mapping.js'

/** The shortest mask lengths that are believed: 0–32 and 0–128. */
export interface WidestAnswers {
  readonly ipv4: number
  readonly ipv6: number
}

/**
 * The records as far as they are believed of an answer on `asked`, and the prefixes that were narrowed. A
 * record that is too wide and does not hold what was asked for stays; it is not related to it.
 */
export function believedWidth(
  records: readonly Mapping[],
  asked: EidPrefix,
  { ipv4, ipv6 }: WidestAnswers,
): { readonly records: readonly Mapping[]; readonly narrowed: readonly EidPrefix[] } {
  // Who asks for a wide prefix is told of it: it was ours to ask.
  const shortest = Math.min(asked.address.family === 4 ? ipv4 : ipv6, asked.maskLength)
  const tooWide = records.filter(
    ({ eidPrefix: one }) => one.maskLength < shortest && coversEid(one, eidFromPrefix(asked)),
  )
  if (tooWide.length === 0) return { records, narrowed: [] }
  // Of several that hold the EID the longest is what was meant for it.
  const best = tooWide.reduce((a, b) => (b.eidPrefix.maskLength > a.eidPrefix.maskLength ? b : a))
  const around = eidPrefix(asked.instanceId, asked.address, shortest)
  const others = records.filter((one) => !tooWide.includes(one))
  return {
    records: [{ ...best, eidPrefix: around }, ...others],
    narrowed: tooWide.map((one) => one.eidPrefix),
  }
}
