/**
 * The ETR's answers to Map-Requests and RLOC-probes for what it is responsible for.
 *
 * Supported standards: RFC 9301 §5.2, §5.4, §5.5 (best match with its more-specifics, one TTL, reply
 * to the first ITR-RLOC of a family we have). An EID that has left is answered with where it went,
 * without the authoritative bit (our choice: it saves its sender a second of waiting).
 * Deviation: the *recommended* limit of one Map-Reply per 3 s is a token bucket per RLOC and prefix
 * (burst 4) under a ceiling per RLOC; probes obey the ceiling alone, or a short interval would starve.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses, formatIpAddress } from '../../lisp/address.js'
import { formatEidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import { encodeMessage, type MapRequest } from '../../lisp/message.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import { createAnswerLimits } from '../answer-limits.js'
import type { Instant } from '../capabilities.js'
import { endOfPath, ownLocators, ownMapping, sourceRloc } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import type { SignReply } from '../lisp-sec/lisp-sec-requests.js'
import { report } from '../outputs.js'

/** Where a Map-Request came from; ports are those of its innermost UDP header. */
export interface RequestOrigin {
  readonly from: Rloc
  readonly fromPort: number
  /** Our RLOC that it was sent to. */
  readonly to: Rloc
  readonly encapsulated: boolean
  /** Signs the Map-Reply (RFC 9303 §6.8); missing: it was asked plainly. */
  readonly sign?: SignReply | undefined
}

export type RequestReplies = (
  request: MapRequest,
  origin: RequestOrigin,
  now: Instant,
  outputs: Output[],
) => void

/** Records in one Map-Reply: a match and its more-specifics; more would not fit a datagram. */
const MAXIMUM_RECORDS = 16
/** Without a Map-Server nothing says how long our mappings last; RFC 9301 §5.6 suggests a day at most. */
const DEFAULT_TTL_MINUTES = 15

export function createRequestReplies(
  config: NodeConfig,
  database: MappingDatabase,
): RequestReplies {
  const limits = createAnswerLimits(config)
  // RFC 9301 §9, strict mode: what an unprotected question asks for, anybody could answer.
  const mustSign = config.mapServers.some(({ security }) => security?.mode === 'require')
  const isRelay = config.roles.includes('rtr') || config.multicast.relayLevel !== undefined
  const locators = ownLocators(config)
  const ttlMinutes = config.mapServers[0]?.ttlMinutes ?? DEFAULT_TTL_MINUTES

  function mappingOf(entry: DatabaseEntry, probed: Rloc | undefined): Mapping {
    if (entry.state === 'away' && entry.committed) {
      const mapping = ownMapping(
        entry.eidPrefix,
        entry.awayLocators,
        ttlMinutes,
        entry.heardVersion,
      )
      // A probe reply needs A=1 to be heard at all (RFC 9301 §5.4); it says that *we* can be reached.
      return { ...mapping, authoritative: probed !== undefined }
    }
    const marked = locators.map((one) =>
      probed !== undefined && equalIpAddresses(endOfPath(one), probed)
        ? { ...one, probe: true }
        : one,
    )
    return ownMapping(entry.eidPrefix, marked, ttlMinutes, entry.grantedVersion)
  }

  /** Without a mapping of our own: that we can be reached, for a minute. */
  function relayRecords(request: MapRequest, probed: Rloc): Mapping[] {
    const here = locators.filter((one) => equalIpAddresses(one.rloc, probed))
    const marked = here.map((one) => ({ ...one, probe: true }))
    return request.records.slice(0, 1).map((one) => ownMapping(one.eidPrefix, marked, 1, 0))
  }

  function recordsFor(request: MapRequest, probed: Rloc | undefined): Mapping[] {
    const found: Mapping[] = []
    for (const { eidPrefix } of request.records) {
      const entry = database.matchPrefix(eidPrefix)
      if (entry === undefined || entry.state === 'standby') continue
      for (const one of [entry, ...database.staticInside(entry.eidPrefix)]) {
        if (found.length >= MAXIMUM_RECORDS) return found
        found.push(mappingOf(one, probed))
      }
    }
    return found
  }

  return (request, origin, now, outputs) => {
    const eidPrefix = formatEidPrefix(request.records[0]?.eidPrefix ?? NOTHING)
    const targets = request.itrRlocs.filter((one) => sourceRloc(config, one) !== undefined)
    // RFC 9301 §7.1: a probe asks about one RLOC, which only an answer from that RLOC can confirm.
    const probed = request.rlocProbe ? origin.to.family : undefined
    const target = targets.find((one) => one.family === probed) ?? targets[0]
    const ignore = (reason: string): void =>
      report(outputs, 'map-request-received', 'info', {
        reason,
        eidPrefix,
        from: formatIpAddress(origin.from),
      })
    if (request.doNotReply) return ignore('do-not-reply')
    // RFC 9301 §5.2: a probe is never encapsulated, so this one did not come from where it says.
    if (request.rlocProbe && origin.encapsulated) return ignore('encapsulated-probe')
    if (mustSign && !request.rlocProbe && origin.sign === undefined) return ignore('unprotected')
    if (target === undefined) return ignore('no-itr-rloc')
    const records = recordsFor(request, request.rlocProbe ? origin.to : undefined)
    if (records.length === 0 && request.rlocProbe && isRelay)
      records.push(...relayRecords(request, origin.to))
    // Another xTR of our site asks whether we serve its segments (segment-designation.ts).
    const isOfSite = config.multicast.siteXtrs.some((one) => equalIpAddresses(one, origin.from))
    if (records.length === 0 && request.rlocProbe && isOfSite)
      records.push(...relayRecords(request, origin.to))
    if (records.length === 0) return ignore('not-ours')
    const name = formatIpAddress(target)
    const asked = request.rlocProbe ? undefined : eidPrefix
    if (!limits.take(origin.from, target, asked, now)) {
      report(outputs, 'map-reply-suppressed', 'info', { reason: 'rate', eidPrefix, to: name })
      return
    }
    const reply = {
      kind: 'map-reply',
      rlocProbe: request.rlocProbe,
      echoNonceCapable: config.closedNetwork?.echoNonce ?? false,
      nonce: request.nonce,
      records,
    } as const
    const bytes = origin.sign?.(reply) ?? encodeMessage(reply)
    // Without an ITR-RLOC of the probed family it must leave from elsewhere; the p bit still tells.
    const from = origin.to.family === target.family ? origin.to : sourceRloc(config, target)!
    outputs.push({ kind: 'send', from, to: target, toPort: origin.fromPort, bytes })
    report(outputs, 'map-reply-sent', 'debug', { eidPrefix, to: name, records: records.length })
  }
}

/** Names a request without records in its event. */
const NOTHING = {
  instanceId: 0,
  address: { family: 4, bytes: new Uint8Array(4) },
  maskLength: 0,
} as const
