/**
 * PIM-SM and PIM-SSM on our links (RFC 7761): beside the routers of the site, and towards the core.
 *
 * Per link and family: neighbours, what they have joined through us, what we have joined through them,
 * asserts. Only what comes from a neighbour is believed, and only what was sent to all PIM routers.
 * What routers join on a site link are listeners of that interface. A source behind a router of the
 * site is joined through the configured neighbour, else through the one of the highest DR priority.
 * Registers, bootstrap and BIDIR are not spoken: an xTR is no rendezvous point.
 */
import type { NodeConfig } from '../../config/node-config.js'
import {
  compareIpAddresses,
  equalIpAddresses,
  formatIpAddress,
  type IpAddress,
  parseIpAddress,
} from '../../lisp/address.js'
import { coversEid } from '../../lisp/eid.js'
import type { Malformed } from '../../lisp/message.js'
import { formatGroup, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import {
  decodePim,
  encodePim,
  type PimAssert,
  type PimHello,
  type PimJoinPrune,
  type PimMessage,
} from '../../lisp/multicast/pim.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { earliest } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { push, report } from '../outputs.js'
import type { SegmentEvent } from '../segment-vocabulary.js'
import { type LeftAside, type NamedJoin, namedJoins } from './join-prune-names.js'
import { createPimAsserts, type PimAsserts } from './pim-asserts.js'
import { createPimDownstream, type PimDownstream } from './pim-downstream.js'
import { createPimNeighbours, type PimNeighbours } from './pim-neighbours.js'
import {
  createPimUpstream,
  joinPruneGroup,
  joinPrunes,
  type PimUpstream,
  type WantedGroup,
} from './pim-upstream.js'
import { rendezvousPointOf } from './rendezvous-point.js'

export interface PimLinks {
  /** A link has got or lost its address, or a PIM packet has come in; anything else is no affair of ours. */
  handleEvent(event: SegmentEvent, now: Instant, outputs: Output[]): void
  /** Joined through a router of this link as soon as there is one, until `unwant`. */
  want(wanted: WantedGroup, interfaceName: string, now: Instant, outputs: Output[]): void
  unwant(group: MulticastGroup, outputs: Output[]): void
  /** Another router forwards this group onto the link (RFC 7761 §4.6). */
  isAssertLoser(interfaceName: string, group: MulticastGroup): boolean
  /** Our IPv4 address on a link, and the router there that we have joined a group through. */
  addressOn(interfaceName: string): IpAddress | undefined
  routerTowards(interfaceName: string, group: MulticastGroup): IpAddress | undefined
  /** Goodbye to all. */
  leave(outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  views(): readonly PimLinkView[]
}

/** One link of one family, for people. */
export interface PimLinkView {
  readonly interfaceName: string
  readonly family: 4 | 6
  readonly address: string
  readonly designatedRouter: string
  readonly neighbours: readonly string[]
  /** Groups that others have joined through us, and we through others. */
  readonly joinedByOthers: number
  readonly joinedByUs: number
}

export interface PimLinkParts {
  /** A router of a link has joined or left; `host` of the events that follow. */
  listener(
    what: 'group-joined' | 'group-left',
    group: MulticastGroup,
    interfaceName: string,
    host: IpAddress,
    now: Instant,
    outputs: Output[],
  ): void
  /** Packets of this group go out of that interface. */
  forwards(interfaceName: string, group: MulticastGroup): boolean
  /** An assert was lost, or is over. */
  assertChanged(group: MulticastGroup, now: Instant, outputs: Output[]): void
}

interface Link {
  readonly interfaceName: string
  readonly family: 4 | 6
  readonly instanceId: number
  own: IpAddress
  readonly neighbours: PimNeighbours
  readonly downstream: PimDownstream
  readonly upstream: PimUpstream
  readonly asserts: PimAsserts
}

/** ALL-PIM-ROUTERS, RFC 7761 §4.3.1. */
const ALL_ROUTERS = {
  4: parseIpAddress('224.0.0.13')!,
  6: parseIpAddress('ff02::d')!,
}

export function createPimLinks(
  config: NodeConfig,
  capabilities: Capabilities,
  parts: PimLinkParts,
): PimLinks {
  const policy = config.multicast.pim
  const links = new Map<string, Link>()
  const wants = new Map<string, { readonly wanted: WantedGroup; readonly interfaceName: string }>()

  // ------------------------------------------------------------------ links

  function instanceOf(interfaceName: string): number | undefined {
    const site = config.siteInterfaces.find(({ name }) => name === interfaceName)
    if (site !== undefined) return site.instanceId
    // The underlay is of no instance; it is spoken to only where it forwards groups.
    const isCore = config.rlocs.some((one) => one.interfaceName === interfaceName)
    return isCore && policy?.underlayMulticast === true ? 0 : undefined
  }

  function setAddress(
    { interfaceName, family, address }: Extract<SegmentEvent, { kind: 'segment-address' }>,
    now: Instant,
    outputs: Output[],
  ): void {
    const name = `${interfaceName} ${family}`
    const known = links.get(name)
    const instanceId = instanceOf(interfaceName)
    if (policy === undefined || instanceId === undefined || address === undefined) {
      if (known === undefined) return
      known.downstream.clear(now, outputs)
      links.delete(name)
      return
    }
    if (known !== undefined) {
      known.own = address
      return
    }
    const link = makeLink(policy, { interfaceName, family, instanceId, own: address })
    links.set(name, link)
    link.neighbours.start(now)
  }

  function makeLink(
    { drPriority, helloMs }: NonNullable<typeof policy>,
    about: Pick<Link, 'interfaceName' | 'family' | 'instanceId' | 'own'>,
  ): Link {
    const { interfaceName, family } = about
    const { random } = capabilities
    const say = (message: PimMessage, outputs: Output[]): void => send(link, message, outputs)
    const neighbours = createPimNeighbours({
      interfaceName,
      priority: drPriority,
      helloMs,
      random,
      say,
    })
    // One listener for all routers of the link: who of them it was, is for them to track.
    const routers = ALL_ROUTERS[family]
    const link: Link = {
      ...about,
      neighbours,
      downstream: createPimDownstream({
        maximumGroups: config.multicast.maximumGroups,
        joined: (group, now, outputs) =>
          parts.listener('group-joined', group, interfaceName, routers, now, outputs),
        left: (group, now, outputs) =>
          parts.listener('group-left', group, interfaceName, routers, now, outputs),
        echo: (group, outputs) => sayPruneEcho(link, group, outputs),
      }),
      upstream: createPimUpstream({
        random,
        overrideIntervalMs: neighbours.overrideIntervalMs,
        maySuppress: neighbours.maySuppress,
        say,
      }),
      asserts: createPimAsserts({
        own: () => link.own,
        say,
        changed: parts.assertChanged,
      }),
    }
    return link
  }

  function send(link: Link, message: PimMessage, outputs: Output[]): void {
    const { interfaceName, own: source, family } = link
    const destination = ALL_ROUTERS[family]
    const payload = encodePim(message, { source, destination })
    const about = { interfaceName, protocol: 'pim', source, destination, payload } as const
    push(outputs, { kind: 'send-on-segment', ...about })
  }

  /** RFC 7761 §4.5.2: addressed to ourselves, so that a lost override is said again. */
  function sayPruneEcho(link: Link, group: MulticastGroup, outputs: Output[]): void {
    if (link.neighbours.size < 2) return
    const rendezvousPoint = rootOf(group)
    if (group.source === undefined && rendezvousPoint === undefined) return
    for (const message of joinPrunes(link.own, [
      joinPruneGroup({ group, rendezvousPoint }, 'prune'),
    ]))
      send(link, message, outputs)
  }

  function rootOf({ source, group }: MulticastGroup): IpAddress | undefined {
    return source ?? rendezvousPointOf(policy?.rendezvousPoints ?? [], group)
  }

  // ------------------------------------------------------------------ what comes in

  function ignore(link: Link, reason: string, from: IpAddress, outputs: Output[]): void {
    const { interfaceName } = link
    report(outputs, 'pim-ignored', 'info', { reason, interfaceName, from: formatIpAddress(from) })
  }

  function handlePacket(
    { interfaceName, source, destination, payload }: Packet,
    now: Instant,
    outputs: Output[],
  ): void {
    const link = links.get(`${interfaceName} ${source.family}`)
    if (link === undefined || equalIpAddresses(source, link.own)) return
    const message = decodePim(payload, { source, destination })
    const reason = reasonAgainst(link, message, source, destination)
    if (reason !== undefined) ignore(link, reason, source, outputs)
    else if (message.kind === 'pim-hello') handleHello(link, message, source, now, outputs)
    else if (message.kind === 'pim-join-prune') handleJoinPrune(link, message, source, now, outputs)
    else if (message.kind === 'pim-assert') handleAssert(link, message, source, now, outputs)
  }

  /** Why a message is not for us to act on; undefined: it is. */
  function reasonAgainst(
    link: Link,
    message: PimMessage | Malformed,
    from: IpAddress,
    to: IpAddress,
  ): string | undefined {
    if (message.kind === 'malformed') return message.code
    if (!equalIpAddresses(to, ALL_ROUTERS[link.family])) return 'not-to-all-routers'
    if (message.kind === 'pim-hello') return undefined
    if (!link.neighbours.has(from)) return 'not-a-neighbour'
    return message.kind === 'pim-other' ? 'unspoken-type' : undefined
  }

  function handleHello(
    link: Link,
    hello: PimHello,
    from: IpAddress,
    now: Instant,
    outputs: Output[],
  ): void {
    const effect = link.neighbours.handleHello(hello, from, now, outputs)
    if (effect === 'known' || effect === 'refused') return
    if (effect === 'gone') link.asserts.forget(from, now, outputs)
    if (effect === 'restarted') {
      link.asserts.forget(from, now, outputs)
      link.upstream.neighbourRestarted(from, now)
    }
    // Even to a neighbour that is known: the one of the best priority may be another now.
    routeAll(link, now, outputs)
  }

  function handleJoinPrune(
    link: Link,
    message: PimJoinPrune,
    from: IpAddress,
    now: Instant,
    outputs: Output[],
  ): void {
    const { named, leftAside } = namedJoins(message, link.instanceId)
    const to = message.upstreamNeighbor.address
    const isForUs = equalIpAddresses(to, link.own)
    if (isForUs) reportLeftAside(link.interfaceName, from, leftAside, outputs)
    for (const one of named) {
      if (isForUs) obey(link, one, message.holdtime, from, now, outputs)
      else if (one.what === 'join') link.upstream.sawJoin(one.group, to, message.holdtime, now)
      else link.upstream.sawPrune(one.group, to, now)
    }
  }

  function obey(
    link: Link,
    { what, group, root }: NamedJoin,
    holdtime: number,
    from: IpAddress,
    now: Instant,
    outputs: Output[],
  ): void {
    if (what === 'prune') {
      // §4.5.2: with one neighbour there is nobody who could override.
      const waitMs = link.neighbours.size > 1 ? link.neighbours.overrideMs() : 0
      link.downstream.prune(group, waitMs, now, outputs)
      return
    }
    const known = rootOf(group)
    // §4.5.1: (*,G) towards another root would be another tree.
    if (group.source === undefined && known !== undefined && !equalIpAddresses(known, root))
      ignore(link, 'other-rendezvous-point', from, outputs)
    else if (!link.downstream.join(group, holdtime, now, outputs))
      ignore(link, 'too-many-groups', from, outputs)
  }

  function handleAssert(
    link: Link,
    assert: PimAssert,
    from: IpAddress,
    now: Instant,
    outputs: Output[],
  ): void {
    const { address, maskLength } = assert.group
    const source = assert.rpTree ? undefined : assert.source.address
    if (maskLength !== address.bytes.length * 8 || (source ?? address).family !== address.family) {
      ignore(link, 'group', from, outputs)
      return
    }
    const group = { instanceId: link.instanceId, source, group: address }
    const forwards = parts.forwards(link.interfaceName, group)
    // Only what we forward can be contested; of anything else we need not know a winner.
    if (!forwards && !link.asserts.isLoser(group)) return
    link.asserts.handleAssert(assert, group, from, forwards, now, outputs)
  }

  // ------------------------------------------------------------------ what we join

  /** The neighbour that leads to the root of a group, undefined while there is none. */
  function neighbourTowards(link: Link, { group, rendezvousPoint }: WantedGroup) {
    const root = group.source ?? rendezvousPoint
    if (root === undefined) return undefined
    const eid = { instanceId: link.instanceId, address: root }
    let best: NonNullable<typeof policy>['sourceRoutes'][number] | undefined
    for (const route of policy?.sourceRoutes ?? []) {
      if (!coversEid(route.sources, eid)) continue
      if (best === undefined || route.sources.maskLength > best.sources.maskLength) best = route
    }
    if (best !== undefined) return link.neighbours.has(best.neighbour) ? best.neighbour : undefined
    const all = link.neighbours.views()
    if (all.some(({ address }) => equalIpAddresses(address, root))) return root
    return all.reduce<(typeof all)[number] | undefined>((first, one) => {
      if (first === undefined) return one
      const more = (one.priority ?? 0) - (first.priority ?? 0)
      return more > 0 || (more === 0 && compareIpAddresses(one.address, first.address) > 0)
        ? one
        : first
    }, undefined)?.address
  }

  function route(link: Link, wanted: WantedGroup, now: Instant, outputs: Output[]): void {
    const neighbour = neighbourTowards(link, wanted)
    if (neighbour === undefined) {
      link.upstream.forget(wanted.group)
      return
    }
    link.neighbours.sayNow(now, outputs)
    link.upstream.want(wanted, neighbour, now, outputs)
  }

  function routeAll(link: Link, now: Instant, outputs: Output[]): void {
    for (const { wanted, interfaceName } of wants.values())
      if (interfaceName === link.interfaceName && wanted.group.group.family === link.family)
        route(link, wanted, now, outputs)
  }

  function linkFor(interfaceName: string, group: MulticastGroup): Link | undefined {
    return links.get(`${interfaceName} ${group.group.family}`)
  }

  return {
    handleEvent(event, now, outputs) {
      if (event.kind === 'segment-address') setAddress(event, now, outputs)
      else if (event.protocol === 'pim') handlePacket(event, now, outputs)
    },
    want(wanted, interfaceName, now, outputs) {
      const key = formatGroup(wanted.group)
      const isNew = wants.get(key)?.interfaceName !== interfaceName
      if (policy === undefined || !isNew || wants.size >= config.multicast.maximumSources) return
      wants.set(key, { wanted, interfaceName })
      const link = linkFor(interfaceName, wanted.group)
      if (link !== undefined) route(link, wanted, now, outputs)
    },
    unwant(group, outputs) {
      const one = wants.get(formatGroup(group))
      if (one === undefined) return
      wants.delete(formatGroup(group))
      linkFor(one.interfaceName, group)?.upstream.unwant(group, outputs)
    },
    isAssertLoser: (interfaceName, group) =>
      linkFor(interfaceName, group)?.asserts.isLoser(group) ?? false,
    addressOn: (interfaceName) => links.get(`${interfaceName} 4`)?.own,
    routerTowards: (interfaceName, group) =>
      linkFor(interfaceName, group)?.upstream.neighbourOf(group),
    leave(outputs) {
      for (const link of links.values()) link.neighbours.leave(outputs)
    },
    handleDeadline(now, outputs) {
      for (const link of links.values()) {
        const silent = link.neighbours.handleDeadline(now, outputs)
        for (const address of silent) link.asserts.forget(address, now, outputs)
        if (silent.length > 0) routeAll(link, now, outputs)
        link.downstream.handleDeadline(now, outputs)
        link.upstream.handleDeadline(now, outputs)
        link.asserts.handleDeadline(now, outputs)
      }
    },
    deadline: () =>
      earliest(
        ...[...links.values()].flatMap((link) => [
          link.neighbours.deadline(),
          link.downstream.deadline(),
          link.upstream.deadline(),
          link.asserts.deadline(),
        ]),
      ),
    views: () => [...links.values()].map(viewOf),
  }
}

type Packet = Extract<SegmentEvent, { kind: 'segment-packet' }>

/** What of a Join/Prune was not used, one event per reason. */
export function reportLeftAside(
  interfaceName: string | undefined,
  from: IpAddress,
  leftAside: LeftAside,
  outputs: Output[],
): void {
  for (const [reason, lines] of Object.entries(leftAside))
    if (lines > 0)
      report(outputs, 'pim-ignored', 'info', {
        reason,
        interfaceName,
        from: formatIpAddress(from),
        lines,
      })
}

function viewOf({
  interfaceName,
  family,
  own,
  neighbours,
  downstream,
  upstream,
}: Link): PimLinkView {
  return {
    interfaceName,
    family,
    address: formatIpAddress(own),
    designatedRouter: formatIpAddress(neighbours.designatedRouter(own)),
    neighbours: neighbours.views().map(({ address }) => formatIpAddress(address)),
    joinedByOthers: downstream.size,
    joinedByUs: upstream.size,
  }
}
