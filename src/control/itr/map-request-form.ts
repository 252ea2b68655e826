/**
 * The form of our Map-Requests (RFC 9301 §5.2, §5.8): one record, our RLOCs, in an Encapsulated
 * Control Message towards the EID. Who is asked and when is decided in pending-requests.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import type { EidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import { encodeMessage, type MapRequest } from '../../lisp/message.js'
import type { EcmAuthenticationData } from '../../lisp/security-data.js'
import { CONTROL_PORT, sourceRloc } from '../control-datagram.js'
import type { PendingRequest } from './pending-requests.js'
import type { SubscribingForm } from './subscriber.js'

/** The ECM around one Map-Request (RFC 9301 §5.8): inner destination is the EID, both ports 4342. */
export function encapsulatedRequest(
  config: NodeConfig,
  request: PendingRequest,
  nonce: bigint,
  subscription: SubscribingForm | undefined,
  securityData?: EcmAuthenticationData,
): Uint8Array {
  const destination = request.eidPrefix.address
  const isResolution = request.source !== undefined && !request.refresh && !request.smrInvoked
  const message = encodeMessage(
    mapRequest(config, request.eidPrefix, nonce, {
      smrInvoked: request.smrInvoked,
      // RFC 9301 §5.2: AFI 0 in refreshes and probes, the inner source in a first resolution.
      sourceEid: isResolution ? request.source : undefined,
      records: [{ subscribe: subscription !== undefined, eidPrefix: request.eidPrefix }],
      // RFC 9437 §4: who subscribes says who it is.
      identity: subscription?.identity,
    }),
  )
  return encodeMessage({
    kind: 'encapsulated-control',
    security: securityData !== undefined,
    ...(securityData === undefined ? {} : { securityData }),
    ddtOriginated: false,
    innerSource: innerSource(config, request, destination),
    innerDestination: destination,
    innerSourcePort: CONTROL_PORT,
    innerDestinationPort: CONTROL_PORT,
    message,
  })
}

/**
 * The inner source must be of the EID's family. Our choice: an RLOC of ours, else the EID that asks,
 * else the EID itself; the Map-Reply goes to an ITR-RLOC, never here.
 */
function innerSource(config: NodeConfig, request: PendingRequest, destination: Rloc): Rloc {
  const own = sourceRloc(config, destination)
  if (own !== undefined) return own
  const source = request.source?.address
  return source !== undefined && source.family === destination.family ? source : destination
}

/** RFC 9301 §5.2: more cannot be written (IRC has five bits). */
const MAXIMUM_ITR_RLOCS = 32

/** A Map-Request of ours for one EID-prefix, or what is given, with all flags clear but those given. */
export function mapRequest(
  config: NodeConfig,
  eidPrefix: EidPrefix | undefined,
  nonce: bigint,
  given: Partial<MapRequest>,
): MapRequest {
  return {
    kind: 'map-request',
    authoritative: false,
    rlocProbe: false,
    solicitMapRequest: false,
    // RFC 9301 §5.2: the p bit of a Proxy-ITR.
    proxyItr: config.roles.includes('pitr'),
    smrInvoked: false,
    localXtr: false,
    doNotReply: false,
    nonce,
    sourceEid: undefined,
    itrRlocs: config.rlocs.slice(0, MAXIMUM_ITR_RLOCS).map((one) => one.address),
    records: eidPrefix === undefined ? [] : [{ subscribe: false, eidPrefix }],
    mapReplyRecord: undefined,
    identity: undefined,
    ...given,
  }
}
