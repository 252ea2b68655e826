/**
 * Packets to multicast groups (RFC 6831 §8, RFC 8378): which copies leave, under which headers, and what
 * never passes.
 */
import type { IpFields } from '../frames.js'
import { lispHeader, macBytes, udp } from '../frames.js'
import { data, FAMILIES, fromCore, groupMac, HOST, REMOTE, toGroup, tunnelled } from '../packets.js'
import type { Family, LocatorFields } from '../workbench.js'
import type { PacketVector, VectorGroup, VectorStep } from './vector.js'

const GROUP = { 4: '239.1.1.1', 6: 'ff3e::8000:1' } as const
const LOCAL = { '10.1.0.0/24': { state: 'local' }, 'fd00:a::/64': { state: 'local' } } as const
const PEERS: Readonly<Record<Family, readonly string[]>> = {
  4: ['198.51.100.2', '198.51.100.3', '198.51.100.4'],
  6: ['2001:db8:d::2', '2001:db8:d::3', '2001:db8:d::4'],
}
const peers = (rloc: Family, count = 3): LocatorFields[] =>
  PEERS[rloc].slice(0, count).map((destination) => ({ family: rloc, destination }))
const exact = (family: Family, source: string = HOST[family]) => `(${source},${GROUP[family]})`
const any = (family: Family) => `(*,${GROUP[family]})`

/** An inner packet of ours, or of a remote host, to the group. */
const inner = (family: Family, fields: Partial<IpFields> = {}) =>
  toGroup(family, GROUP[family], fields).slice(14)
const sent = (family: Family) => toGroup(family, GROUP[family], { ttl: 33, trafficClass: 0xb9 })
const outgoing = { ttl: 32, trafficClass: 0xb9 }
const to = (packet: Uint8Array, rloc: Family, destination: string, outer: Partial<IpFields> = {}) =>
  tunnelled(rloc, packet, { outer: { ...outgoing, destination, ...outer } })
const arriving = (rloc: Family, packet: Uint8Array, outer: Partial<IpFields> = {}) =>
  fromCore(rloc, packet, { outer: { ttl: 50, ...outer } })
const remote = (family: Family, fields: Partial<IpFields> = {}) =>
  inner(family, { source: REMOTE[family], ttl: 40, ...fields })

const headEnd: PacketVector[] = FAMILIES.flatMap((family) =>
  FAMILIES.map((rloc) => ({
    name: `IPv${family} over IPv${rloc}`,
    locals: LOCAL,
    groups: { [exact(family)]: { to: peers(rloc) } },
    steps: [
      {
        from: 'site',
        frame: sent(family),
        out: {
          copies: PEERS[rloc].map((peer) => to(inner(family, outgoing), rloc, peer)),
        },
        tally: 'replicated',
        raises: [],
      },
    ],
  })),
)

const leaving: PacketVector[] = FAMILIES.flatMap((family) => {
  const host = `${HOST[family]}/${family === 4 ? 32 : 128}`
  const groups = { [exact(family)]: { to: peers(4, 1) } }
  const copies = [to(inner(family, outgoing), 4, PEERS[4][0]!)]
  return [
    {
      name: `IPv${family}, a source whose move is not certain yet`,
      locals: { ...LOCAL, [host]: { state: 'away', uncommitted: true } },
      groups,
      steps: [{ from: 'site', frame: sent(family), out: { copies }, tally: 'replicated' }],
    },
    {
      name: `IPv${family}, a source that has left`,
      locals: { ...LOCAL, [host]: { state: 'away' } },
      groups,
      steps: [
        {
          from: 'site',
          frame: sent(family),
          out: 'pass',
          tally: 'foreign-group-source',
        },
      ],
    },
  ]
})

const mixed: PacketVector[] = FAMILIES.map((family) => ({
  name: `IPv${family}, both families of RLOCs, next protocol where it is spoken`,
  locals: LOCAL,
  groups: {
    [exact(family)]: {
      to: [...peers(4, 2), { family: 4, destination: '198.51.100.9', gpe: true }, ...peers(6, 2)],
      on: ['site0', 'site2'],
    },
  },
  steps: [
    {
      from: 'site',
      frame: sent(family),
      out: {
        copies: [
          to(inner(family, outgoing), 4, PEERS[4][0]!),
          to(inner(family, outgoing), 4, PEERS[4][1]!),
          tunnelled(4, inner(family, outgoing), {
            outer: { ...outgoing, destination: '198.51.100.9' },
            lisp: { flags: 0x0c, nonce: [0, 0, family === 4 ? 1 : 2] },
          }),
          to(inner(family, outgoing), 6, PEERS[6][0]!),
          to(inner(family, outgoing), 6, PEERS[6][1]!),
        ],
        segments: { site2: inner(family, outgoing) },
      },
    },
  ],
}))

const received: PacketVector[] = FAMILIES.flatMap((family) =>
  FAMILIES.map((rloc) => ({
    name: `IPv${family} under IPv${rloc}: TTL and traffic class as of unicast, no copy at level 0`,
    locals: LOCAL,
    groups: { [exact(family, REMOTE[family])]: { on: ['site0', 'site2'], to: peers(rloc) } },
    steps: [
      {
        from: 'core',
        frame: arriving(rloc, remote(family, { trafficClass: 0x02 }), {
          ttl: 30,
          trafficClass: 0x2b,
        }),
        out: {
          copies: [],
          segments: {
            site0: remote(family, { ttl: 30, trafficClass: 0x2b }),
            site2: remote(family, { ttl: 30, trafficClass: 0x2b }),
          },
        },
        tally: 'decapsulated',
      },
    ],
  })),
)

const tree: PacketVector[] = FAMILIES.flatMap((family) =>
  FAMILIES.map((rloc) => ({
    name: `IPv${family} under IPv${rloc}: on to those below, not to whom it came from`,
    groups: { [any(family)]: { level: 1, to: peers(4).concat(peers(6)), on: ['site2'] } },
    steps: [
      {
        from: 'core',
        frame: arriving(rloc, remote(family)),
        out: {
          copies: FAMILIES.flatMap((next) =>
            PEERS[next].flatMap((peer, at) =>
              next === rloc && at === 0
                ? []
                : [to(remote(family, { ttl: 39 }), next, peer, { ttl: 39, trafficClass: 0 })],
            ),
          ),
          segments: { site2: remote(family) },
        },
        tally: 'replicated',
      },
    ],
  })),
)

const relays: PacketVector[] = FAMILIES.map((family) => ({
  name: `IPv${family}: the outer header is overwritten, also in the other family`,
  groups: { [any(family)]: { level: 2, to: peers(4, 1).concat(peers(6, 2)) } },
  steps: FAMILIES.map((rloc) => ({
    from: 'core',
    frame: arriving(rloc, remote(family), {
      source: rloc === 4 ? '198.51.100.77' : '2001:db8:d::77',
    }),
    out: {
      copies: [
        to(remote(family, { ttl: 39 }), 4, PEERS[4][0]!, { ttl: 39, trafficClass: 0 }),
        to(remote(family, { ttl: 39 }), 6, PEERS[6][0]!, { ttl: 39, trafficClass: 0 }),
        to(remote(family, { ttl: 39 }), 6, PEERS[6][1]!, { ttl: 39, trafficClass: 0 }),
      ],
    },
  })),
}))

const deadEnds: PacketVector[] = FAMILIES.map((family) => ({
  name: `IPv${family}`,
  groups: { [any(family)]: { level: 1, to: peers(4, 1) } },
  steps: [{ from: 'core', frame: arriving(4, remote(family)), out: { copies: [] } }],
}))

const event = (family: Family, source: string) => ({
  kind: 'multicast-source-seen' as const,
  group: {
    instanceId: 7,
    source: { family, bytes: inner(family, { source }).slice(...SOURCE_AT[family]) },
    group: { family, bytes: inner(family).slice(...GROUP_AT[family]) },
  },
  interfaceName: 'site0',
})
const SOURCE_AT = { 4: [12, 16], 6: [8, 24] } as const
const GROUP_AT = { 4: [16, 20], 6: [24, 40] } as const
/** The limit of events is by source: each vector has its own. */
const HOSTS = { 4: '10.1.0.61', 6: 'fd00:a::61' } as const
const OTHERS = { 4: '10.1.0.62', 6: 'fd00:a::62' } as const

const names: PacketVector[] = FAMILIES.map((family) => {
  const frame = (source: string) => toGroup(family, GROUP[family], { source, ttl: 33 })
  const copy = (source: string, peer: number) =>
    to(inner(family, { source, ttl: 32 }), 4, PEERS[4][peer]!, { trafficClass: 0 })
  return {
    name: `IPv${family}`,
    locals: LOCAL,
    groups: {
      [exact(family, HOSTS[family])]: { to: [peers(4)[0]!] },
      [any(family)]: { to: [peers(4)[1]!] },
    },
    steps: [
      {
        what: 'of the source with an entry of its own goes by that alone',
        from: 'site',
        frame: frame(HOSTS[family]),
        out: { copies: [copy(HOSTS[family], 0)] },
        raises: [],
      },
      {
        what: 'of another source goes by (*,G) and is reported',
        from: 'site',
        frame: frame(OTHERS[family]),
        out: { copies: [copy(OTHERS[family], 1)] },
        raises: [event(family, OTHERS[family])],
      },
      {
        what: 'once a second',
        from: 'site',
        frame: frame(OTHERS[family]),
        out: { copies: [copy(OTHERS[family], 1)] },
        raises: [],
      },
    ],
  }
})

const stays = (
  family: Family,
): readonly (readonly [string, PacketVector['groups'], VectorStep])[] => {
  const list = { to: peers(4), on: ['site0'] }
  const scoped = { 4: '224.0.0.251', 6: 'ff02::fb' }[family]
  const foreign = { 4: '10.9.0.1', 6: 'fd00:99::1' }[family]
  const step = (frame: Uint8Array, more: Partial<VectorStep> = {}): VectorStep => ({
    from: 'site',
    frame,
    out: 'pass',
    ...more,
  })
  const unknown = { 4: '10.1.0.63', 6: 'fd00:a::63' }[family]
  return [
    [
      'no entry: reported',
      {},
      step(toGroup(family, GROUP[family], { source: unknown }), {
        raises: [event(family, unknown)],
      }),
    ],
    ['link-scoped', { [any(family)]: list }, step(toGroup(family, scoped), { raises: [] })],
    [
      'TTL 1',
      { [any(family)]: list },
      step(toGroup(family, GROUP[family], { ttl: 1 }), { raises: [] }),
    ],
    [
      'a source that is not of the site: reported',
      { [any(family)]: list, [exact(family, foreign)]: list },
      step(toGroup(family, GROUP[family], { source: foreign }), {
        raises: [event(family, foreign)],
        tally: 'foreign-group-source',
      }),
    ],
    [
      'a group of another instance',
      { [exact(family)]: { ...list, instanceId: 8 } },
      step(toGroup(family, GROUP[family])),
    ],
    [
      'listeners only where it came from',
      { [exact(family)]: { on: ['site0'] } },
      step(toGroup(family, GROUP[family]), { raises: [] }),
    ],
    [
      'only ourselves in the list',
      { [exact(family)]: { to: [{ family: 4, destination: '192.0.2.1' }] } },
      step(toGroup(family, GROUP[family])),
    ],
    [
      'a relay copies nothing of its own segments',
      { [exact(family)]: { to: peers(4), level: 1 } },
      step(toGroup(family, GROUP[family])),
    ],
  ]
}

const refused = (family: Family): readonly (readonly [string, VectorStep])[] => {
  const scoped = { 4: '224.0.0.251', 6: 'ff02::fb' }[family]
  const other = { 4: '239.9.9.9', 6: 'ff3e::9999' }[family]
  const core = (
    frame: Uint8Array,
    drop: 'group-scope' | 'unknown-group' | 'own-source',
  ): VectorStep => ({
    from: 'core',
    frame,
    out: { drop },
  })
  const group = (destination: string) => arriving(4, remote(family, { destination }))
  const ofOther = fromCore(4, remote(family), { lisp: { instanceId: 8 } })
  return [
    ['a link-scoped group', core(group(scoped), 'group-scope')],
    ['a group that nobody listens to', core(group(other), 'unknown-group')],
    ['the group of another instance', core(ofOther, 'unknown-group')],
    ['a source of our own', core(arriving(4, inner(family)), 'own-source')],
    [
      'the group of a relay without anybody below',
      core(group({ 4: '239.2.2.2', 6: 'ff3e::2' }[family]), 'unknown-group'),
    ],
    [
      'the end of its TTL at a relay',
      {
        from: 'core',
        frame: arriving(
          4,
          remote(family, { destination: { 4: '239.3.3.3', 6: 'ff3e::3' }[family] }),
          {
            ttl: 1,
          },
        ),
        out: { drop: 'ttl-expired' },
      },
    ],
  ]
}

const sizes: PacketVector[] = FAMILIES.map((family) => {
  const fields = { dontFragment: true, ttl: 33 }
  const payload = udp(1, 2, data(1400 - 36 - (family === 4 ? 28 : 48) + 1))
  const frame = toGroup(family, GROUP[family], fields, payload)
  const packet = toGroup(family, GROUP[family], { ...fields, ttl: 32 }, payload).slice(14)
  const [first, second, third] = peers(4)
  return {
    name: `IPv${family}`,
    locals: LOCAL,
    groups: { [exact(family)]: { to: [first!, { ...second!, pathMtu: 1400 }, third!] } },
    steps: [
      {
        from: 'site',
        frame,
        out: {
          copies: [0, 2].map((at) => to(packet, 4, PEERS[4][at]!, { trafficClass: 0 })),
          drops: ['group-copy-too-big'],
        },
      },
    ],
  }
})

const CORE_GROUP = { 4: '232.9.9.9', 6: 'ff3e::9:9' } as const
/** A frame that the core has brought by a group of its own. */
const byCore = (rloc: Family, packet: Uint8Array, outer: Partial<IpFields> = {}) => {
  const to = { destination: CORE_GROUP[rloc], ...outer }
  const frame = arriving(rloc, packet, to)
  frame.set(macBytes(groupMac(CORE_GROUP[rloc])))
  return frame
}
const coreGroups: PacketVector[] = FAMILIES.flatMap((family) =>
  FAMILIES.map((rloc) => ({
    name: `IPv${family} over IPv${rloc}`,
    locals: LOCAL,
    groups: {
      [exact(family)]: {
        to: [{ family: rloc, destination: CORE_GROUP[rloc] }, ...peers(rloc, 1)],
      },
      [exact(family, REMOTE[family])]: { on: ['site2'] },
    },
    steps: [
      {
        what: 'leaves to the group, under our own RLOC',
        from: 'site',
        frame: sent(family),
        out: {
          copies: [CORE_GROUP[rloc], PEERS[rloc][0]!].map((peer) =>
            to(inner(family, outgoing), rloc, peer),
          ),
        },
      },
      {
        what: 'comes by the group and is delivered',
        from: 'core',
        frame: byCore(rloc, remote(family)),
        out: { copies: [], segments: { site2: remote(family) } },
      },
      {
        what: 'by the group, but without (S-EID,G)',
        from: 'core',
        frame: byCore(
          rloc,
          remote(family, { source: { 4: '10.2.0.77', 6: 'fd00:b::77' }[family] }),
        ),
        out: { drop: 'unknown-group' },
      },
      {
        what: 'by the group, to a single endpoint',
        from: 'core',
        frame: byCore(rloc, remote(family, { destination: HOST[family] })),
        out: { drop: 'unknown-group' },
      },
    ],
  })),
)

const nest = (payload: Uint8Array) => udp(5, 4341, new Uint8Array([...lispHeader({}), ...payload]))
const nested: PacketVector[] = FAMILIES.map((family) => ({
  name: `IPv${family}`,
  locals: LOCAL,
  groups: { [exact(family)]: { to: peers(4) } },
  steps: [
    {
      from: 'site',
      frame: toGroup(
        family,
        GROUP[family],
        {},
        nest(toGroup(family, GROUP[family], {}, nest(inner(family))).slice(14)),
      ),
      out: { drop: 'nested' },
    },
  ],
}))

export const REPLICATION: readonly VectorGroup[] = [
  { title: 'a packet to a group is copied to every RLOC of its list', vectors: headEnd },
  { title: 'a source sends from its old site until its move is certain', vectors: leaving },
  { title: 'RLOCs of both families, and other segments of the site', vectors: mixed },
  { title: 'a packet to a group from the core goes to segments with listeners', vectors: received },
  { title: 'a node of a replication tree delivers and sends on', vectors: tree },
  { title: 'a relay without listeners sends on', vectors: relays },
  { title: 'a relay whose only branch is where it came from', vectors: deadEnds },
  { title: '(S,G) goes before (*,G), and sources without an entry are reported', vectors: names },
  {
    title: 'what a site sends to groups and stays with the kernel',
    vectors: FAMILIES.flatMap((family) =>
      stays(family).map(([name, groups, step]) => ({
        name: `IPv${family}: ${name}`,
        locals: LOCAL,
        groups: groups ?? {},
        steps: [step],
      })),
    ),
  },
  {
    title: 'what the core brings for groups and goes no further',
    vectors: FAMILIES.flatMap((family) =>
      refused(family).map(([name, step]) => ({
        name: `IPv${family}: ${name}`,
        locals: LOCAL,
        groups: {
          [any(family)]: { on: ['site0'] },
          [`(*,${{ 4: '239.2.2.2', 6: 'ff3e::2' }[family]})`]: { level: 1 },
          [`(*,${{ 4: '239.3.3.3', 6: 'ff3e::3' }[family]})`]: { level: 1, to: peers(6) },
        },
        steps: [step],
      })),
    ),
  },
  { title: 'a copy that does not fit is left out, the others are not', vectors: sizes },
  { title: 'groups of the core carry packets to groups', vectors: coreGroups },
  { title: 'a third LISP header is not put in front of copies either', vectors: nested },
]
