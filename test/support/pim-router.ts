/**
 * A PIM router on the site link of an xTR, as packets: says what it is told to say, and reads what the
 * xTR sends there.
 */
import type { NodeConfig } from '../../src/config/node-config.js'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import type { MulticastGroup } from '../../src/lisp/multicast/multicast-group.js'
import {
  decodePim,
  encodePim,
  type HelloOption,
  type PimMessage,
} from '../../src/lisp/multicast/pim.js'
import { aMulticastPolicy, anAddress } from './builders.js'
import type { Reaction } from './conversation.js'

export type PimPolicy = NonNullable<NodeConfig['multicast']['pim']>

export function aPimPolicy(about: Partial<PimPolicy> = {}): PimPolicy {
  return {
    drPriority: 1,
    helloMs: 30_000,
    sourceRoutes: [],
    rendezvousPoints: [],
    joinSites: false,
    joiners: [],
    underlayMulticast: false,
    underlayGroups: [],
    ...about,
  }
}

export function pimMulticast(about: Partial<PimPolicy> = {}): NodeConfig['multicast'] {
  return aMulticastPolicy({ enabled: true, pim: aPimPolicy(about) })
}

/** Our own address of a link. */
export function ownAddress(text: string, interfaceName = 'site'): DatapathEvent {
  const address = anAddress(text)
  return { kind: 'segment-address', interfaceName, family: address.family, address }
}

/** What a router with this address has sent; to all PIM routers unless said otherwise. */
export function fromRouter(
  text: string,
  message: PimMessage,
  { interfaceName = 'site', to = '' } = {},
): DatapathEvent {
  const source = anAddress(text)
  const all = source.family === 4 ? '224.0.0.13' : 'ff02::d'
  const destination = anAddress(to === '' ? all : to)
  return {
    kind: 'segment-packet',
    interfaceName,
    protocol: 'pim',
    mac: Uint8Array.of(2, 0, 0, 0, 0, 9),
    source,
    destination,
    hopLimit: 1,
    routerAlert: false,
    payload: encodePim(message, { source, destination }),
  }
}

export function aHello(
  about: { holdtime?: number; priority?: number; generation?: number; more?: HelloOption[] } = {},
): PimMessage {
  const { holdtime = 105, priority = 1, generation = 7, more = [] } = about
  return {
    kind: 'pim-hello',
    options: [
      { kind: 'holdtime', seconds: holdtime },
      { kind: 'dr-priority', priority },
      { kind: 'generation-id', id: generation },
      ...more,
    ],
  }
}

/** A Join/Prune of one group; `root` is the rendezvous point of (*,G). */
export function aJoinPrune(
  what: 'join' | 'prune',
  { source, group }: MulticastGroup,
  upstream: string,
  { holdtime = 210, root = '10.9.9.9' } = {},
): Extract<PimMessage, { kind: 'pim-join-prune' }> {
  const maskLength = group.bytes.length * 8
  const isAny = source === undefined
  const line = {
    address: source ?? anAddress(root),
    maskLength,
    sparse: true,
    wildcard: isAny,
    rpTree: isAny,
    attributes: [],
  }
  return {
    kind: 'pim-join-prune',
    upstreamNeighbor: { address: anAddress(upstream), attributes: [] },
    holdtime,
    groups: [
      {
        group: { address: group, maskLength, bidirectional: false, zone: false, attributes: [] },
        joined: what === 'join' ? [line] : [],
        pruned: what === 'prune' ? [line] : [],
      },
    ],
  }
}

/** What the xTR has said on its links, decoded. Throws for what is malformed. */
export function pimSaid(
  reactions: readonly Pick<Reaction, 'at' | 'operations'>[],
): { readonly at: number; readonly interfaceName: string; readonly message: PimMessage }[] {
  return reactions.flatMap(({ at, operations }) =>
    operations.flatMap((operation) => {
      if (operation.kind !== 'send-on-segment' || operation.protocol !== 'pim') return []
      const { source, destination, payload, interfaceName } = operation
      const message = decodePim(payload, { source, destination })
      if (message.kind === 'malformed') throw new Error(`malformed: ${message.code}`)
      return [{ at, interfaceName, message }]
    }),
  )
}

/** 'join (10.1.0.5,232.1.1.1) by 10.1.0.2': the lines of Join/Prunes that were said. */
export function joinLines(reactions: readonly Pick<Reaction, 'at' | 'operations'>[]): string[] {
  return pimSaid(reactions).flatMap(({ message }) =>
    message.kind === 'pim-join-prune' ? linesOf(message) : [],
  )
}

export function linesOf(message: Extract<PimMessage, { kind: 'pim-join-prune' }>): string[] {
  const text = (bytes: Uint8Array): string =>
    bytes.length === 4 ? bytes.join('.') : Buffer.from(bytes).toString('hex')
  const to = text(message.upstreamNeighbor.address.bytes)
  return message.groups.flatMap(({ group, joined, pruned }) => {
    const line = (what: string, one: (typeof joined)[number]): string => {
      const from = one.wildcard ? `*/${text(one.address.bytes)}` : text(one.address.bytes)
      return `${what} (${from},${text(group.address.bytes)}) by ${to}`
    }
    return [...joined.map((one) => line('join', one)), ...pruned.map((one) => line('prune', one))]
  })
}
