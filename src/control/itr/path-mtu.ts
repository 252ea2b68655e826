/**
 * The MTU of the path to each locator, learnt from ICMP errors of the underlay: the stateful way of
 * RFC 9300 §7.2, beside the configured `pathMtu`, which is never exceeded.
 *
 * An error is believed only when it quotes a packet that we may have sent: from the RLOC that the error
 * came to, to one that packets are sent to, LISP data by its ports and by its instance-ID. Who is on the
 * path, or guesses all of that, can lower an MTU for ten minutes (RFC 1191 §6.3, RFC 8201 §4), never
 * below the floor; then real packets find out again. Live copies and copies to groups keep `pathMtu`.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses, formatIpAddress } from '../../lisp/address.js'
import { readTooBigError, type TooBigError } from '../../lisp/icmp-too-big.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Instant } from '../capabilities.js'
import type { Encapsulation } from '../datapath-operation.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import { createRateLimit } from '../rate-limit.js'

export interface PathMtuCallbacks {
  /** Packets of this instance go to `rloc`; undefined: of any. */
  isUsed(rloc: Rloc, instanceId: number | undefined): boolean
  /** What is sent to `rloc` is to be written anew, by `fit`. */
  changed(rloc: Rloc, now: Instant, outputs: Output[]): void
}

export interface PathMtu {
  /** An ICMP error came to one of our RLOCs: the packet from its IP header, possibly cut. */
  handleError(packet: Uint8Array, now: Instant, outputs: Output[]): void
  /** The same outer header with the smaller MTU, if its path is known to be narrower. */
  fit(encapsulation: Encapsulation): Encapsulation
  /** What was learnt, by the RLOC as text. Bytes. */
  learnt(): ReadonlyMap<string, { readonly rloc: Rloc; readonly mtu: number }>
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

/** RFC 1191 §6.3 and RFC 8201 §4: not tried again for ten minutes. */
const FORGET_MS = 600_000
/** RFC 8200 §5: an error that says less is wrong (RFC 8201 §4). */
const IPV6_MINIMUM_MTU = 1280
/**
 * RFC 791 §3.1: what every host takes, and so what an underlay for tunnels carries (our choice; RFC 1191
 * would go down to 68, which a forged error could use to make nearly all of a packet headers).
 */
const IPV4_FLOOR = 576
/** RFC 1191 §7: what links of routers too old to name an MTU carry; the next below the packet counts. */
const PLATEAUS = [1492, 1006] as const
/** Narrowed paths known at once; errors about more are ignored. */
const MAXIMUM_PATHS = 4096
/** Each lowering writes all entries of an RLOC anew: a path has few bottlenecks, a forger many ideas. */
const LOWERINGS = { burst: 4, refillPerSecond: 0.1, maximumKeys: MAXIMUM_PATHS }
const DATA_PORT = 4341
/** Of the datapath: 0xc000 and 14 bits of the hash of the flow. */
const LOWEST_SOURCE_PORT = 0xc000

export function createPathMtu(config: NodeConfig, callbacks: PathMtuCallbacks): PathMtu {
  const paths = new Map<string, { readonly rloc: Rloc; readonly mtu: number }>()
  const ends = createDeadlines()
  const lowerings = createRateLimit(LOWERINGS)

  /** Why the error says nothing of a packet of ours; undefined: it does. */
  function doubt(error: TooBigError): string | undefined {
    const { source, destination, ...quoted } = error.quoted
    const isOwn = config.rlocs.some(({ address }) => equalIpAddresses(address, source))
    if (!isOwn || !equalIpAddresses(error.to, source)) return 'not-our-rloc'
    if (quoted.destinationPort !== DATA_PORT || quoted.sourcePort < LOWEST_SOURCE_PORT)
      return 'not-our-ports'
    // Our packets have DF set and no UDP checksum (RFC 9300 §5.3).
    if (!quoted.dontFragment || quoted.udpChecksum !== 0) return 'not-our-packet'
    if (quoted.lisp !== undefined && !quoted.lisp.hasInstance) return 'not-our-packet'
    if (!callbacks.isUsed(destination, undefined)) return 'unknown-locator'
    if (!callbacks.isUsed(destination, quoted.lisp?.instanceId)) return 'unknown-instance'
    return undefined
  }

  function lower(rloc: Rloc, mtu: number, now: Instant, outputs: Output[]): string | undefined {
    const key = formatIpAddress(rloc)
    const former = paths.get(key)?.mtu ?? config.pathMtu
    if (mtu >= former) return 'not-smaller'
    if (!paths.has(key) && paths.size >= MAXIMUM_PATHS) return 'too-many-paths'
    if (!lowerings.take(key, now)) return 'rate-limited'
    paths.set(key, { rloc, mtu })
    ends.set(key, now + FORGET_MS)
    report(outputs, 'path-mtu-lowered', 'notice', { rloc: key, pathMtu: mtu, formerMtu: former })
    callbacks.changed(rloc, now, outputs)
    return undefined
  }

  function judge(packet: Uint8Array, now: Instant, outputs: Output[]): string | undefined {
    if (config.pathMtuDiscovery === false) return 'switched-off'
    const error = readTooBigError(packet)
    if (error === undefined) return 'malformed'
    const why = doubt(error)
    if (why !== undefined) return why
    const mtu = saidMtu(error)
    if (mtu === undefined) return 'below-minimum'
    const { lengthBytes, destination } = error.quoted
    if (lengthBytes !== 0 && lengthBytes <= mtu) return 'packet-fits'
    return lower(destination, mtu, now, outputs)
  }

  return {
    handleError(packet, now, outputs) {
      const reason = judge(packet, now, outputs)
      if (reason !== undefined) report(outputs, 'path-mtu-ignored', 'debug', { reason })
    },
    fit(encapsulation) {
      const mtu = paths.get(formatIpAddress(encapsulation.locator.rloc))?.mtu
      return mtu === undefined ? encapsulation : { ...encapsulation, pathMtu: mtu }
    },
    learnt: () => paths,
    handleDeadline(now, outputs) {
      for (const key of ends.due(now)) {
        const path = paths.get(key)
        if (path === undefined) continue
        paths.delete(key)
        const { pathMtu } = config
        report(outputs, 'path-mtu-forgotten', 'info', { rloc: key, pathMtu, formerMtu: path.mtu })
        callbacks.changed(path.rloc, now, outputs)
      }
    },
    deadline: () => ends.next(),
  }
}

/** What the error lets through, at least the floor; undefined when it is to be discarded. */
function saidMtu({ mtu, quoted }: TooBigError): number | undefined {
  if (quoted.destination.family === 6) return mtu < IPV6_MINIMUM_MTU ? undefined : mtu
  const said = mtu === 0 ? (PLATEAUS.find((one) => one < quoted.lengthBytes) ?? IPV4_FLOOR) : mtu
  return Math.max(said, IPV4_FLOOR)
}
