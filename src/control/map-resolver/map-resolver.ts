/**
 * The Map-Resolver: takes Map-Requests out of their envelope and finds who can answer.
 *
 * Supported standards: RFC 9301 §8.4, RFC 9303 §6.6. A Map-Server on the same node is asked without a
 * second ECM; everything else goes to a configured Map-Server, and with none of those the EID is outside LISP:
 * a negative reply with the least specific hole. Map-Replies are never cached. With roots of a
 * delegation tree configured, what is not of a site of our own is looked for there (RFC 8111;
 * ddt-resolution.ts).
 * Deviations: none.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses, formatIpAddress } from '../../lisp/address.js'
import { eidFromPrefix, formatEidPrefix, hostPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { MapReferral } from '../../lisp/map-referral.js'
import { type EncapsulatedControl, encodeMessage, type MapRequest } from '../../lisp/message.js'
import { createAnswerLimits } from '../answer-limits.js'
import type { Instant } from '../capabilities.js'
import { isOwnRloc } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import {
  keyForMapServer,
  type ProtectedRequest,
  requiresSecurity,
} from '../lisp-sec/lisp-sec-requests.js'
import { isAboutDescribed } from '../map-server/described-eid-server.js'
import {
  type EncapsulatedRequest,
  forwardRequest,
  nativelyForward,
  objectionTo,
  replyTarget,
  sendReply,
  suppressed,
  UNREGISTERED_EID_TTL_MINUTES,
} from '../map-server/map-request-answers.js'
import type { MapServer } from '../map-server/map-server.js'
import type { Datagram } from '../map-server/register-guard.js'
import { mayForwardSubscription } from '../map-server/subscription-admission.js'
import { report } from '../outputs.js'
import { createRateLimit } from '../rate-limit.js'
import type { ReferralView } from '../snapshot.js'
import type { DdtResolution } from './ddt-resolution.js'

export interface MapResolver {
  /**
   * Handles a Map-Request that came in an ECM. False when it belongs to an ETR on this very node,
   * which is then to answer it.
   */
  handleRequest(
    request: MapRequest,
    ecm: EncapsulatedControl,
    datagram: Datagram,
    now: Instant,
    outputs: Output[],
    security?: ProtectedRequest,
  ): boolean
  /** What a DDT node says about a walk of ours (RFC 8111 §7.3). */
  handleReferral(message: MapReferral, datagram: Datagram, now: Instant, outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  referralViews(now: Instant): ReferralView[]
}

/**
 * Our choice against Map-Resolvers that are each other's Map-Server: one request, known by its nonce,
 * passes 4 times and then once per second, which is how often an ITR may send it.
 */
const FORWARDS_PER_NONCE = { burst: 4, refillPerSecond: 1, maximumKeys: 100_000 }

export function createMapResolver(
  config: NodeConfig,
  mapServer: MapServer | undefined,
  ddt: DdtResolution | undefined,
): MapResolver {
  const others = config.mapServers
    .map(({ address }) => address)
    .filter((address) => !isOwnRloc(config, address))
  const perNonce = createRateLimit(FORWARDS_PER_NONCE)
  // Forwards and negative replies for one ITR are limited as Map-Replies are.
  const limits = createAnswerLimits(config)

  /**
   * RFC 8378 §5.2.2: a group is known to the Map-Server here, or to one of those that we ask. So are
   * names and places, which no delegation tree of prefixes leads to.
   */
  function askWhole(received: EncapsulatedRequest, now: Instant, outputs: Output[]): void {
    const { request, ecm, datagram } = received
    if (mapServer !== undefined) {
      mapServer.handleRequest(request, ecm, datagram, now, outputs, true)
      return
    }
    const from = formatIpAddress(datagram.from)
    const onward = others.filter((address) => !equalIpAddresses(address, datagram.from))
    const chosen = onward[Number(request.nonce % BigInt(onward.length || 1))]
    const replyTo = request.itrRlocs[0] ?? datagram.from
    const fresh =
      perNonce.take(request.nonce.toString(16), now) &&
      limits.take(datagram.from, replyTo, undefined, now)
    if (chosen !== undefined && fresh) forwardRequest(config, received, chosen, outputs)
    else {
      const reason = fresh ? 'no-map-server' : 'rate-limited'
      const name = isAboutGroups(request) ? 'group-request-suppressed' : 'map-reply-suppressed'
      report(outputs, name, 'debug', { reason, from })
    }
  }

  return {
    handleRequest(request, ecm, datagram, now, outputs, security) {
      const received = { request, ecm, datagram, security }
      const first = request.records[0]
      if (isAboutGroups(request) || isAboutDescribed(request)) {
        askWhole(received, now, outputs)
        return true
      }
      if (mapServer !== undefined && first !== undefined) {
        const elsewhere =
          (others.length > 0 || ddt !== undefined) && !mapServer.isResponsibleFor(first.eidPrefix)
        if (!elsewhere)
          return mapServer.handleRequest(request, ecm, datagram, now, outputs, true, security)
      }
      if (security === undefined && requiresSecurity(config)) {
        outputs.push(suppressed('unprotected', received))
        return true
      }
      const replyTo = removalTarget(received) ?? replyTarget(config, request.itrRlocs)
      const objection =
        removalTarget(received) === undefined ? objectionTo(request, replyTo) : undefined
      if (objection !== undefined || replyTo === undefined || first === undefined) {
        outputs.push(suppressed(objection ?? 'no-records', received))
        return true
      }
      const fresh = perNonce.take(request.nonce.toString(16), now)
      if (!fresh || !limits.take(datagram.from, replyTo, undefined, now)) {
        outputs.push(suppressed('rate-limited', received))
        return true
      }
      if (ddt !== undefined) {
        ddt.resolve(admitted(config, received, outputs), replyTo, now, outputs)
        return true
      }
      // Never back to where it came from.
      const onward = others.filter((address) => !equalIpAddresses(address, datagram.from))
      const chosen = onward[Number(request.nonce % BigInt(onward.length || 1))]
      if (chosen !== undefined) {
        forwardTo(config, admitted(config, received, outputs), chosen, outputs)
        return true
      }
      // We know no Map-Server and so no holes either: speak of the one EID, and for a short time.
      const eid = hostPrefix(eidFromPrefix(first.eidPrefix))
      const negative = nativelyForward(eid, UNREGISTERED_EID_TTL_MINUTES)
      sendReply(config, received, replyTo, [negative], outputs)
      return true
    },
    handleReferral: (message, datagram, now, outputs) =>
      ddt?.handleReferral(message, datagram, now, outputs),
    handleDeadline: (now, outputs) => ddt?.handleDeadline(now, outputs),
    deadline: () => ddt?.deadline(),
    referralViews: (now) => ddt?.views(now) ?? [],
  }
}

/** To a Map-Server on another node; with LISP-SEC only where the one-time key can be wrapped for it. */
function forwardTo(
  config: NodeConfig,
  received: EncapsulatedRequest,
  mapServer: Rloc,
  outputs: Output[],
): void {
  const { security } = received
  const key = security === undefined ? undefined : keyForMapServer(config, mapServer)
  if (security !== undefined && key === undefined)
    outputs.push(suppressed('no-key-for-map-server', received))
  else forwardRequest(config, received, mapServer, outputs, key && security?.wrappedFor(key))
}

function isAboutGroups({ records, structuredRecords = [] }: MapRequest): boolean {
  return records.length === 0 && structuredRecords.some(({ eid }) => eid.kind === 'multicast-info')
}

/** Where the xTR is that takes back a subscription: its request has no ITR-RLOC (RFC 9437 §5). */
function removalTarget({ request, datagram }: EncapsulatedRequest): Rloc | undefined {
  const removes = request.itrRlocs.length === 0 && request.records.some((one) => one.subscribe)
  return removes && !request.rlocProbe && !request.doNotReply ? datagram.from : undefined
}

/**
 * RFC 9437 §1.1: the Map-Resolver checks who may subscribe, as which xTR and with which ITR-RLOCs. Of
 * anybody else the question goes on without the N bits.
 */
function admitted(
  config: NodeConfig,
  received: EncapsulatedRequest,
  outputs: Output[],
): EncapsulatedRequest {
  const { request, ecm, datagram } = received
  if (!request.records.some((one) => one.subscribe)) return received
  if (mayForwardSubscription(config, request, datagram.from)) return received
  report(outputs, 'subscription-refused', 'notice', {
    reason: 'not-admitted',
    from: formatIpAddress(datagram.from),
    eidPrefix: formatEidPrefix(request.records[0]!.eidPrefix),
  })
  const records = request.records.map((one) => ({ ...one, subscribe: false }))
  const plain = { ...request, records, identity: undefined }
  return { ...received, request: plain, ecm: { ...ecm, message: encodeMessage(plain) } }
}
