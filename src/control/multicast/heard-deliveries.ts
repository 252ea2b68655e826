/**
 * Groups that somebody else delivers to a segment, by what is heard there.
 *
 * An xTR whose daemon has died goes on delivering: its programs and their tables stay. Whoever takes over
 * for it would deliver everything a second time until joins and registrations of the dead one have
 * expired. So a substitute is silent about a group as long as packets of it are heard on the segment from
 * sources elsewhere, which the datapath reports once a second. Our choice beside the Asserts of RFC 7761
 * §4.6: the other one cannot answer. Not noticed: sources of the site that both copy.
 */
import {
  anySource,
  formatGroup,
  type MulticastGroup,
} from '../../lisp/multicast/multicast-group.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'

export interface HeardDeliveries {
  /** A packet of a source that is not of this site came from the segment. */
  heard(group: MulticastGroup, interfaceName: string, now: Instant, outputs: Output[]): void
  /** Packets of the group, of any source, were heard there just now. */
  has(group: MulticastGroup, interfaceName: string): boolean
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** Our choice, milliseconds: two reports may be missed. */
const SILENT_MS = 2500
/** Choice: as many groups as links may join; what is beyond is delivered. */
const MAXIMUM_HEARD = 4096

/** `changed`: a group, as (*,G), is heard now, or no more. */
export function createHeardDeliveries(
  changed: (group: MulticastGroup, now: Instant, outputs: Output[]) => void,
): HeardDeliveries {
  const groups = new Map<string, MulticastGroup>()
  const deadlines = createDeadlines()
  const keyOf = (group: MulticastGroup, interfaceName: string): string =>
    `${interfaceName} ${formatGroup(anySource(group))}`

  return {
    heard(group, interfaceName, now, outputs) {
      const key = keyOf(group, interfaceName)
      const isNew = !groups.has(key)
      if (isNew && groups.size >= MAXIMUM_HEARD) return
      groups.set(key, anySource(group))
      deadlines.set(key, now + SILENT_MS)
      if (isNew) changed(anySource(group), now, outputs)
    },
    has: (group, interfaceName) => groups.has(keyOf(group, interfaceName)),
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const group = groups.get(key)
        if (group === undefined) continue
        groups.delete(key)
        changed(group, now, outputs)
      }
    },
    deadline: () => deadlines.next(),
  }
}
