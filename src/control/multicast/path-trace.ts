/**
 * Our two hops in a traced multicast path (RFC 6831 §12): `mtrace` shows the xTRs as traceroute does.
 *
 * A request comes up from the receiver. At the ETR it comes from the site, gets the hop "in from the core,
 * out to the site" and goes on to the xTR of the source, LISP-encapsulated; there it gets the hop "in
 * from the site, out to the core" and goes on to the router of the site that leads to the source. Where
 * there is none, or no way, the response goes back to who asked. The core in between is a tunnel, here
 * as for traceroute. IPv4, as the messages are.
 */
import type { NodeConfig } from '../../config/node-config.js'
import {
  equalIpAddresses,
  formatIpAddress,
  type IpAddress,
  parseIpAddress,
} from '../../lisp/address.js'
import { coversEid, type Eid } from '../../lisp/eid.js'
import { LISP_DATA_PORT } from '../../lisp/iana.js'
import type { Rloc } from '../../lisp/locator.js'
import { decapsulatePacket, encapsulatePacket } from '../../lisp/multicast/encapsulated-pim.js'
import {
  decodeTrace,
  encodeTrace,
  hopCount,
  type MulticastTrace,
  PROTOCOL_IGMP,
  TRACE_CODE,
  type TraceHop,
  withHop,
} from '../../lisp/multicast/mtrace.js'
import type { MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { Instant } from '../capabilities.js'
import { isOwnRloc, sourceRloc } from '../control-datagram.js'
import type { DatapathEvent } from '../datapath-event.js'
import type { Output } from '../input-output.js'
import { push, report } from '../outputs.js'
import { createRateLimit } from '../rate-limit.js'
import type { SegmentEvent } from '../segment-vocabulary.js'

export interface PathTrace {
  /** True: the packet of the segment is a trace, for us or not. */
  handleSegment(event: SegmentPacket, now: Instant, outputs: Output[]): boolean
  /** True: what another xTR has sent is a trace. */
  handleEncapsulated(
    event: Extract<DatapathEvent, { kind: 'encapsulated-pim' }>,
    now: Instant,
    outputs: Output[],
  ): boolean
}

export interface PathTraceParts {
  /** RLOC at which a group of elsewhere is joined. */
  upstreamOf(group: MulticastGroup): Rloc | undefined
  /** The interface that a source of this site is behind; undefined: it is not here. */
  interfaceOf(source: Eid): string | undefined
  /** The router of that interface that we have joined the group through; undefined: the source is next. */
  routerTowards(interfaceName: string, group: MulticastGroup): IpAddress | undefined
  /** Packets of the group go out of that interface. */
  forwards(interfaceName: string, group: MulticastGroup): boolean
  /** Our address on a link. */
  addressOn(interfaceName: string): IpAddress | undefined
}

type SegmentPacket = Extract<SegmentEvent, { kind: 'segment-packet' }>

/** Choice: a person asks for a few; a loop of requests costs little. */
const TRACES = { burst: 20, refillPerSecond: 10, maximumKeys: 1 }
/** What a frame has room for. */
const MAXIMUM_HOPS = 32
const ALL_ROUTERS = parseIpAddress('224.0.0.2')!
const NOBODY = parseIpAddress('0.0.0.0')!

export function createPathTrace(config: NodeConfig, parts: PathTraceParts): PathTrace {
  const limit = createRateLimit(TRACES)

  function refuse(reason: string, from: IpAddress, outputs: Output[]): void {
    report(outputs, 'pim-ignored', 'info', { reason, from: formatIpAddress(from) })
  }

  /** Why a trace goes no further; undefined: it may. */
  function reasonAgainst(trace: MulticastTrace, now: Instant): string | undefined {
    if (trace.kind === 'response') return 'trace-response'
    if (hopCount(trace) >= Math.min(trace.hops, MAXIMUM_HOPS)) return 'trace-too-long'
    return limit.take('traces', now) ? undefined : 'too-many-traces'
  }

  function groupOf({ source, group }: MulticastTrace, instanceId: number): MulticastGroup {
    return { instanceId, source, group }
  }

  function sendEncapsulated(
    own: Rloc,
    to: Rloc,
    inner: Parameters<typeof encapsulatePacket>[0],
    outputs: Output[],
  ): void {
    const bytes = encapsulatePacket(inner)
    outputs.push({ kind: 'send', from: own, to, toPort: LISP_DATA_PORT, bytes })
  }

  function sendOnSegment(
    interfaceName: string,
    trace: MulticastTrace,
    to: Pick<SegmentPacket, 'mac'> & { readonly destination: IpAddress },
    outputs: Output[],
  ): void {
    const source = parts.addressOn(interfaceName)
    if (source === undefined) return
    const payload = encodeTrace(trace)
    push(outputs, {
      ...{ kind: 'send-on-segment', interfaceName, protocol: 'igmp', source, payload },
      ...to,
    })
  }

  /** From the receiver's side: on to the xTR of the source, or back. */
  function traceFromSite(
    trace: MulticastTrace,
    { interfaceName, mac }: SegmentPacket,
    instanceId: number,
    outputs: Output[],
  ): void {
    const group = groupOf(trace, instanceId)
    const outgoing = parts.addressOn(interfaceName) ?? NOBODY
    const upstream = parts.upstreamOf(group)
    const own = upstream && sourceRloc(config, upstream)
    if (upstream?.family !== 4 || own === undefined) {
      const hop = hopOf(NOBODY, outgoing, NOBODY, TRACE_CODE.noRoute)
      const back = { mac, destination: trace.responseAddress }
      sendOnSegment(interfaceName, withHop(trace, hop, 'response'), back, outputs)
      return
    }
    const isForwarded = parts.forwards(interfaceName, group)
    const code = isForwarded ? TRACE_CODE.noError : TRACE_CODE.notForwarding
    const payload = encodeTrace(withHop(trace, hopOf(own, outgoing, upstream, code), 'request'))
    const addresses = { source: own, destination: upstream }
    const inner = { instanceId, ...addresses, protocol: PROTOCOL_IGMP, payload }
    sendEncapsulated(own, upstream, inner, outputs)
  }

  /** From another xTR: on to the router that leads to the source, or back. */
  function traceFromCore(
    trace: MulticastTrace,
    { from, to }: { readonly from: Rloc; readonly to: Rloc },
    instanceId: number,
    outputs: Output[],
  ): void {
    const group = groupOf(trace, instanceId)
    const interfaceName = parts.interfaceOf({ instanceId, address: trace.source })
    const incoming = interfaceName === undefined ? undefined : parts.addressOn(interfaceName)
    const router = interfaceName && parts.routerTowards(interfaceName, group)
    if (interfaceName !== undefined && router) {
      const hop = hopOf(incoming ?? NOBODY, to, router, TRACE_CODE.noError)
      const request = withHop(trace, hop, 'request')
      // To all routers of the link: the one on the path answers.
      push(outputs, {
        ...{ kind: 'send-on-segment', interfaceName, protocol: 'igmp' },
        ...{ source: incoming ?? NOBODY, destination: ALL_ROUTERS, payload: encodeTrace(request) },
      })
      return
    }
    const code = interfaceName === undefined ? TRACE_CODE.noRoute : TRACE_CODE.noError
    const hop = hopOf(incoming ?? NOBODY, to, NOBODY, code)
    const payload = encodeTrace(withHop(trace, hop, 'response'))
    // As a packet of this site to the host that has asked: its own xTR delivers it.
    const addresses = { source: incoming ?? to, destination: trace.responseAddress }
    const inner = { instanceId, ...addresses, protocol: PROTOCOL_IGMP, payload }
    sendEncapsulated(to, from, inner, outputs)
  }

  return {
    handleSegment(event, now, outputs) {
      const trace = event.protocol === 'igmp' ? decodeTrace(event.payload) : undefined
      if (trace === undefined) return false
      const own = parts.addressOn(event.interfaceName)
      const site = config.siteInterfaces.find(({ name }) => name === event.interfaceName)
      const isForUs =
        equalIpAddresses(event.destination, ALL_ROUTERS) ||
        (own !== undefined && equalIpAddresses(event.destination, own))
      // What passes by is between others.
      if (!isForUs || site === undefined || own === undefined) return true
      const reason = reasonAgainst(trace, now)
      if (reason !== undefined) refuse(reason, event.source, outputs)
      else traceFromSite(trace, event, site.instanceId, outputs)
      return true
    },
    handleEncapsulated({ from, to, bytes }, now, outputs) {
      const packet = decapsulatePacket(bytes)
      if (typeof packet === 'string' || packet.protocol !== PROTOCOL_IGMP) return false
      const trace = decodeTrace(packet.payload)
      const joiners = config.multicast.pim?.joiners ?? []
      const isJoiner = joiners.some((one) => coversEid(one, { instanceId: 0, address: from }))
      // A response on its way to a host of ours is the datapath's to deliver.
      if (!isOwnRloc(config, packet.destination)) return true
      const reason =
        trace === undefined ? 'trace' : isJoiner ? reasonAgainst(trace, now) : 'not-a-joiner'
      if (reason !== undefined) refuse(reason, from, outputs)
      else if (trace !== undefined) traceFromCore(trace, { from, to }, packet.instanceId, outputs)
      return true
    },
  }
}

function hopOf(
  incoming: IpAddress,
  outgoing: IpAddress,
  previousHop: IpAddress,
  forwardingCode: number,
): TraceHop {
  // Without a clock of the day; hosts then show no delays of this hop.
  return { arrivalTime: 0, incoming, outgoing, previousHop, forwardingCode }
}
