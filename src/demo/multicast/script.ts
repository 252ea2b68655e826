/**
 * Who sends what in topologies/multicast.yaml, and who listens to it: data, no action.
 *
 * Source-specific groups (RFC 4607) and any-source ones, in both families; the groups of instance 8 have
 * the names, and their source the address, of those of instance 7.
 */
import type { GroupStream } from './figures.js'

export interface SentStream extends GroupStream {
  readonly from: string
  readonly address: string
  /** As receivers name it; undefined: of any source. */
  readonly source: string | undefined
}

export interface Listening {
  readonly receiver: string
  /** Undefined: nobody sends what it asks for, and it must hear nothing. */
  readonly stream: number | undefined
  readonly group: string
  readonly source: string | undefined
  /** Needs the router of the site to speak PIM. */
  readonly behindRouter?: boolean
}

const SOURCES = { ipv4: '10.40.0.5', ipv6: 'fd00:40::5' } as const
const SSM = { ipv4: '232.1.1.1', ipv6: 'ff3e::8000:1' } as const
const UNASKED = '232.1.1.9'
const ASM = { ipv4: '239.1.1.1', ipv6: 'ff1e::8000:1' } as const

export const STREAMS: readonly SentStream[] = [
  specific(1, 'camera', 'ipv4', '7'),
  specific(2, 'camera', 'ipv6', '7'),
  general(3, 'camera', 'ipv4', '7'),
  general(4, 'camera', 'ipv6', '7'),
  specific(5, 'twin', 'ipv4', '8'),
  specific(6, 'twin', 'ipv6', '8'),
  // Nobody asks for this one.
  { ...specific(7, 'camera', 'ipv4', '7'), address: UNASKED, group: `[7](10.40.0.5,${UNASKED})` },
]

/** As the nodes name it: who copies it copies what nobody has asked for. */
export const UNASKED_GROUP = STREAMS.at(-1)!.group

/** In the order in which they join. */
export const LISTENINGS: readonly Listening[] = [
  hears('east-host', 1),
  hears('east-host', 2),
  hears('east-host', 3),
  hears('west-host', 3),
  hears('west-host', 4),
  hears('viewer', 1),
  hears('viewer', 4),
  hears('north-host', 2),
  hears('north-host', 3),
  hears('twin-east', 5),
  hears('twin-east', 6),
  { ...hears('lounge', 1), behindRouter: true },
  { ...hears('lounge', 3), behindRouter: true },
  // Other sources of groups that are sent all the time.
  { receiver: 'north-host', stream: undefined, group: SSM.ipv4, source: '10.40.0.99' },
  { receiver: 'west-host', stream: undefined, group: UNASKED, source: '10.40.0.99' },
  // A group that only the other instance has.
  { receiver: 'twin-east', stream: undefined, group: ASM.ipv4, source: undefined },
]

/** Leaves and comes back in the course of the story: the tree of this group shrinks and grows. */
export const LEAVER = LISTENINGS[2]!
/** Its site, and the name under which the nodes copy to it. */
export const LEFT = { site: 'east', group: `[7](${SOURCES.ipv4},${ASM.ipv4})` } as const

/** The node with FRR, and what its pimd is told: the site's xTR is the Rendezvous Point. */
export const ROUTER = 'router'
export const ROUTER_CONFIG = [
  'ip pim rp 10.60.0.1 239.0.0.0/8',
  'ip pim spt-switchover infinity-and-beyond',
  'interface up0',
  ' ip pim',
  'interface lan0',
  ' ip pim',
  ' ip igmp',
]

function specific(
  id: number,
  from: string,
  family: 'ipv4' | 'ipv6',
  instanceId: string,
): SentStream {
  const [address, source] = [SSM[family], SOURCES[family]]
  const group = `[${instanceId}](${source},${address})`
  return { id, from, family, address, source, group }
}

function general(
  id: number,
  from: string,
  family: 'ipv4' | 'ipv6',
  instanceId: string,
): SentStream {
  const address = ASM[family]
  return { id, from, family, address, source: undefined, group: `[${instanceId}](*,${address})` }
}

function hears(receiver: string, id: number): Listening {
  const { address, source } = STREAMS.find((one) => one.id === id)!
  return { receiver, stream: id, group: address, source }
}
