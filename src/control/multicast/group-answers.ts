/**
 * How the Map-Server answers a Map-Request for (S,G) (RFC 8378 §5.2.2), and who follows from then on.
 *
 * With the N bit of an xTR that we share a key with, the answer is a signed Map-Notify with the nonce of
 * the request and every change is told (RFC 9437 §5); else it is a Map-Reply. A request with the N bit
 * and no ITR-RLOC ends that. Who follows renews it; who does not is forgotten.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { authenticationLength, encodeSigned } from '../../lisp/authentication.js'
import type { Rloc } from '../../lisp/locator.js'
import type { StructuredMapping } from '../../lisp/mapping.js'
import { encodeMessage } from '../../lisp/message.js'
import { formatGroup, groupOf, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { CONTROL_PORT, sendControl } from '../control-datagram.js'
import type { Output } from '../input-output.js'
import {
  type EncapsulatedRequest,
  MAXIMUM_REQUEST_RECORDS,
  replyTarget,
} from '../map-server/map-request-answers.js'
import { hexOf } from '../map-server/register-guard.js'
import type { Speaker, SubscriptionAdmission } from '../map-server/subscription-admission.js'
import { report } from '../outputs.js'
import { createRateLimit } from '../rate-limit.js'
import type { Addressee, GroupEntry, GroupTable } from './group-table.js'

export interface GroupAnswers {
  /** False when the request is not about groups. */
  handleRequest(received: EncapsulatedRequest, now: Instant, outputs: Output[]): boolean
}

export interface GroupAnswerParts {
  readonly admission: SubscriptionAdmission
  readonly table: GroupTable
  /** The list as this xTR is to see it; undefined: somebody we do not know. */
  listFor(group: MulticastGroup, owner: string | undefined): StructuredMapping
  /** The addressee has been told this. */
  followed(entry: GroupEntry, addressee: Addressee, record: StructuredMapping): void
}

/** Our choice: three renewals of an ITR. */
const FOLLOWER_MS = 180_000
/** As for Map-Replies about prefixes: a bucket per RLOC and group. */
const ANSWERS = { burst: 4, refillPerSecond: 1 / 3, maximumKeys: 100_000 }
/** A ceiling per RLOC: an ITR asks for each of its groups once a minute. */
const ANSWERS_PER_RLOC = { burst: 1000, refillPerSecond: 200, maximumKeys: 10_000 }

export function createGroupAnswers(
  config: NodeConfig,
  capabilities: Capabilities,
  parts: GroupAnswerParts,
): GroupAnswers {
  const { admission, table } = parts
  const perGroup = createRateLimit(ANSWERS)
  const perRloc = createRateLimit(ANSWERS_PER_RLOC)

  function suppress(reason: string, received: EncapsulatedRequest, outputs: Output[]): void {
    const from = formatIpAddress(received.datagram.from)
    report(outputs, 'group-request-suppressed', 'debug', { reason, from })
  }

  function answer(
    received: EncapsulatedRequest,
    asked: { readonly group: MulticastGroup; readonly subscribe: boolean },
    now: Instant,
    outputs: Output[],
  ): void {
    const { group, subscribe } = asked
    const { request } = received
    const replyTo = replyTarget(config, request.itrRlocs)
    if (replyTo === undefined) {
      suppress('no-common-family', received, outputs)
      return
    }
    const rloc = formatIpAddress(replyTo)
    const mayAnswer = perRloc.take(rloc, now) && perGroup.take(`${rloc} ${formatGroup(group)}`, now)
    if (!mayAnswer) {
      suppress('rate-limited', received, outputs)
      return
    }
    const verdict = subscribe ? admission.judge(received) : undefined
    if (verdict?.kind === 'refuse') {
      suppress(verdict.reason, received, outputs)
      return
    }
    if (verdict?.kind === 'accept') {
      if (subscribed(received, group, verdict.speaker, replyTo, now, outputs)) return
    }
    const owner = verdict?.kind === 'accept' ? verdict.speaker.xtrId : undefined
    const record = parts.listFor(group, owner)
    const reply = { kind: 'map-reply', rlocProbe: false, echoNonceCapable: false } as const
    const { nonce } = request
    const bytes = encodeMessage({ ...reply, nonce, records: [], structuredRecords: [record] })
    sendControl(config, replyTo, bytes, outputs, received.ecm.innerSourcePort || CONTROL_PORT)
    const eidPrefix = formatGroup(group)
    report(outputs, 'map-reply-sent', 'debug', { reason: 'group', to: rloc, eidPrefix })
  }

  /** Takes the follower and answers with a Map-Notify; false when there are too many. */
  function subscribed(
    received: EncapsulatedRequest,
    group: MulticastGroup,
    speaker: Speaker,
    target: Rloc,
    now: Instant,
    outputs: Output[],
  ): boolean {
    const { key, xtrId: owner } = speaker
    const length = speaker.authenticationLength || authenticationLength(key.algorithm)
    const addressee = { owner, target, key, authenticationLength: length }
    if (table.follow(group, addressee, now + FOLLOWER_MS) === 'full') return false
    const record = parts.listFor(group, owner)
    const entry = table.get(group)
    if (entry !== undefined) parts.followed(entry, addressee, record)
    const notify = {
      kind: 'map-notify',
      nonce: received.request.nonce,
      keyId: key.keyId,
      algorithm: key.algorithm,
      authenticationData: new Uint8Array(length),
      records: [],
      structuredRecords: [record],
      identity: undefined,
    } as const
    sendControl(config, target, encodeSigned(notify, key, capabilities.hmac), outputs)
    report(outputs, 'map-notify-sent', 'debug', {
      reason: 'group-followed',
      to: formatIpAddress(target),
      eidPrefixes: [formatGroup(group)],
    })
    return true
  }

  return {
    handleRequest(received, now, outputs) {
      const { request, datagram } = received
      const asked = (request.structuredRecords ?? []).flatMap(({ eid, subscribe }) => {
        const group = groupOf(eid)
        return group === undefined ? [] : [{ group, subscribe }]
      })
      if (asked.length === 0) return false
      if (request.rlocProbe || request.doNotReply) {
        suppress('not-a-question', received, outputs)
        return true
      }
      const ends = request.itrRlocs.length === 0
      for (const one of asked.slice(0, MAXIMUM_REQUEST_RECORDS)) {
        if (!ends) answer(received, one, now, outputs)
        else if (one.subscribe && request.identity !== undefined) {
          const owner = hexOf(request.identity.xtrId)
          const speaker = admission.known(owner)
          const isOwn = speaker?.rlocs.some(
            (rloc) => formatIpAddress(rloc) === formatIpAddress(datagram.from),
          )
          if (isOwn) table.unfollow(one.group, owner)
        }
      }
      return true
    },
  }
}
