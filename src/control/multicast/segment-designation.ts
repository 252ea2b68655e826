/**
 * Which xTR of a site serves a segment: registers its listeners, delivers to them and copies for its
 * sources (RFC 8378 §7).
 *
 * The querier of the segment, where one of the site's xTRs is elected; until then the lowest RLOC of
 * them. The timers of IGMP and MLD notice the death of a querier after minutes. The others are therefore
 * RLOC-probed (RFC 9301 §7.1), once a second: while one of them does not answer, the lowest of those
 * that do serves all segments. Whoever is cut off from the core does not answer either, and could copy
 * nothing. An answer, and nothing else, brings it back; that it asks its hosts again is a reason to probe.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { compareIpAddresses } from '../../lisp/address.js'
import type { EidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { MapReply } from '../../lisp/message.js'
import type { Instant, Random } from '../capabilities.js'
import { isOwnRloc } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import { createRlocProbe } from '../itr/rloc-probe.js'

export interface SegmentDesignation {
  /** Whether we serve this segment. */
  isOurs(interfaceName: string, family: 4 | 6): boolean
  /** Whether we do so only because another one does not answer. */
  isSubstitute(interfaceName: string, family: 4 | 6): boolean
  /** Whether we serve what is of no segment that we know. */
  isFirst(): boolean
  /** Who is querier: we, another xTR of the site, or (undefined) somebody who is none of them. */
  elected(interfaceName: string, family: 4 | 6, isOurs: boolean | undefined, now: Instant): void
  start(now: Instant): void
  /** True when it is the answer of another xTR of the site. */
  handleReply(reply: MapReply, now: Instant, outputs: Output[]): boolean
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** Our choice, milliseconds: a restart of the daemon alone, which costs no packet, is over before. */
const PROBE_INTERVAL_MS = 1000
const PROBE_FAILURES = 3

export function createSegmentDesignation(
  config: NodeConfig,
  random: Random,
  /** Another one has stopped answering, or answers again. */
  changed: (now: Instant, outputs: Output[]) => void,
): SegmentDesignation {
  const siteXtrs = [...config.multicast.siteXtrs].sort(compareIpAddresses)
  const others = siteXtrs.filter((one) => !isOwnRloc(config, one))
  /** `interface family` → whether we are the querier there. */
  const queriers = new Map<string, boolean>()
  const [lowest] = siteXtrs
  const isLowest = lowest === undefined || isOwnRloc(config, lowest)
  const asked = somePrefix(config)
  const rlocProbe = { enabled: true, intervalMs: PROBE_INTERVAL_MS, failures: PROBE_FAILURES }
  const probe = createRlocProbe({ ...config, rlocProbe }, random, {
    prefixOf: () => asked,
    changed: (_rloc, _reachable, now, outputs) => changed(now, outputs),
  })

  function isFirst(): boolean {
    const alive = siteXtrs.find((one: Rloc) => !probe.isDown(one))
    return alive === undefined || isOwnRloc(config, alive)
  }

  return {
    isOurs(interfaceName, family) {
      if (probe.unreachable() > 0) return isFirst()
      return queriers.get(`${interfaceName} ${family}`) ?? isFirst()
    },
    isSubstitute(interfaceName, family) {
      const wouldServe = queriers.get(`${interfaceName} ${family}`) ?? isLowest
      return probe.unreachable() > 0 && !wouldServe
    },
    isFirst,
    elected(interfaceName, family, isOurs, now) {
      const key = `${interfaceName} ${family}`
      if (isOurs === undefined) queriers.delete(key)
      else queriers.set(key, isOurs)
      if (isOurs === false) for (const rloc of others) probe.suspect(rloc, now)
    },
    start(now) {
      for (const rloc of others) probe.track(rloc, now)
    },
    handleReply: (reply, now, outputs) => reply.rlocProbe && probe.handleReply(reply, now, outputs),
    handleDeadline: (now, outputs) => probe.handleDeadline(now, outputs),
    deadline: () => probe.deadline(),
  }
}

/** What a probe asks for; another xTR of the site has it as well, or answers for itself alone. */
function somePrefix({ eidPrefixes, dynamicEidPrefixes }: NodeConfig): EidPrefix | undefined {
  return eidPrefixes[0]?.eidPrefix ?? dynamicEidPrefixes[0]?.eidPrefix
}
