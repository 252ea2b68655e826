/**
 * PIM under damaged conversations: on a link of the site with its routers, and as joins of other xTRs. What
 * an input says is received message by message, time passes between them, then the link goes away.
 * Joins and leaves must mirror each other, limits must hold, time must go on.
 *
 * byte 0: family; then of each message: router (bit 7: an xTR instead), seconds, length (2 bytes), PIM
 * with its checksum put right.
 */

import type { Output } from '../../src/control/input-output.js'
import { createJoinedReceivers } from '../../src/control/multicast/joined-receivers.js'
import { createPimLinks } from '../../src/control/multicast/pim-links.js'
import { encapsulatePacket } from '../../src/lisp/multicast/encapsulated-pim.js'
import { formatGroup } from '../../src/lisp/multicast/multicast-group.js'
import { encodePim, type PimMessage, PROTOCOL_PIM } from '../../src/lisp/multicast/pim.js'
import { anAddress, aPrefix, someCapabilities } from '../support/builders.js'
import { aGroup, xtrConfig } from '../support/group-world.js'
import { aHello, aJoinPrune, pimMulticast } from '../support/pim-router.js'
import type { Target } from './campaign.js'
import { repairGroupMessage } from './repair-checksums.js'

const LINK = {
  4: {
    own: '10.2.0.1',
    routers: '10.2.0.',
    all: '224.0.0.13',
    source: '10.1.0.5',
    group: '232.1.1.1',
  },
  6: { own: 'fe80::1', routers: 'fe80::', all: 'ff02::d', source: 'fd00::5', group: 'ff3e::1' },
} as const
const MAXIMUM_GROUPS = 6
const MAXIMUM_MESSAGES = 16
const HEADER_BYTES = 4
const XTR_BIT = 0x80
const CONFIG = xtrConfig(2, {
  multicast: {
    ...pimMulticast({ joinSites: true, joiners: [aPrefix('192.0.2.0/24')] }),
    maximumGroups: MAXIMUM_GROUPS,
    maximumSources: MAXIMUM_GROUPS,
  },
})
const OWN_RLOC = anAddress('192.0.2.2')
const MAC = Uint8Array.of(2, 0, 0, 0, 0, 9)

interface Outcome {
  /** Changes of what is joined and to whom copies go. */
  readonly changes: readonly string[]
  readonly operations: number
}

interface Said {
  readonly isXtr: boolean
  readonly from: string
  readonly to: string
  readonly seconds: number
  readonly bytes: Uint8Array
}

function familyOf(input: Uint8Array): 4 | 6 {
  return ((input[0] ?? 0) & 1) === 0 ? 4 : 6
}

function messagesOf(input: Uint8Array): Said[] {
  const { routers, all } = LINK[familyOf(input)]
  const said: Said[] = []
  for (let at = 1; at + HEADER_BYTES <= input.length && said.length < MAXIMUM_MESSAGES; ) {
    const [who, seconds, high, low] = input.subarray(at, at + HEADER_BYTES)
    const length = ((high! & 3) << 8) | low!
    const bytes = input.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length)
    const isXtr = (who! & XTR_BIT) !== 0
    const last = 3 + (who! & 3)
    const from = isXtr ? `192.0.2.${last}` : `${routers}${last}`
    said.push({ isXtr, from, to: isXtr ? '192.0.2.2' : all, seconds: seconds!, bytes })
    at += HEADER_BYTES + length
  }
  return said
}

export const pimTarget: Omit<Target<Outcome>, 'seeds'> = {
  name: 'pim',
  weight: 1,
  decode(input) {
    const family = familyOf(input)
    const world = createLinkWorld(family)
    for (const one of messagesOf(input)) {
      world.hear(one)
      world.run(one.seconds * 1000)
    }
    return world.end()
  },
  isDecoded: ({ changes }) => changes.length > 0,
  repair(input) {
    for (const { isXtr, from, to, bytes } of messagesOf(input)) {
      const addresses = [anAddress(from).bytes, anAddress(to).bytes]
      const needsPseudo = !isXtr && familyOf(input) === 6
      repairGroupMessage(bytes, needsPseudo ? addresses : undefined, PROTOCOL_PIM)
    }
  },
}

function createLinkWorld(family: 4 | 6) {
  let now = 0
  const outputs: Output[] = []
  const changes: string[] = []
  const joined = new Set<string>()
  const links = createPimLinks(CONFIG, someCapabilities(1), {
    listener(what, group) {
      const name = formatGroup(group)
      changes.push(`${what} ${name}`)
      if (what === 'group-joined' && joined.has(name)) throw new Error(`${name} joined twice`)
      if (what === 'group-joined') joined.add(name)
      else if (!joined.delete(name)) throw new Error(`${name} left twice`)
      if (joined.size > MAXIMUM_GROUPS) throw new Error(`${joined.size} groups`)
    },
    forwards: (_interfaceName, group) => joined.has(formatGroup(group)),
    assertChanged() {},
  })
  const receivers = createJoinedReceivers(CONFIG, {
    isHere: () => true,
    changed: (group) => changes.push(`${formatGroup(group)} ${receivers.copiesOf(group).length}`),
  })
  const { own, source, group } = LINK[family]
  const segment = { kind: 'segment-address', interfaceName: 'site', family } as const
  links.handleEvent({ ...segment, address: anAddress(own) }, now, outputs)
  const wanted = { group: aGroup(`(${source},${group})`), rendezvousPoint: undefined }
  links.want(wanted, 'site', now, outputs)
  return {
    hear({ isXtr, from, to, bytes }: Said): void {
      const [sender, destination] = [anAddress(from), anAddress(to)]
      if (!isXtr) {
        const about = { protocol: 'pim', mac: MAC, hopLimit: 1, routerAlert: false } as const
        const addresses = { source: sender, destination, interfaceName: 'site' }
        links.handleEvent(
          { kind: 'segment-packet', ...about, ...addresses, payload: bytes },
          now,
          outputs,
        )
        return
      }
      const inner = {
        instanceId: 0,
        source: sender,
        destination,
        protocol: PROTOCOL_PIM,
        payload: bytes,
      }
      const event = { kind: 'encapsulated-pim', from: sender, to: OWN_RLOC } as const
      receivers.handleEvent({ ...event, bytes: encapsulatePacket(inner) }, now, outputs)
    },
    run(milliseconds: number): void {
      const end = now + milliseconds
      for (let steps = 0; ; steps += 1) {
        const next = Math.min(links.deadline() ?? end + 1, receivers.deadline() ?? end + 1)
        if (next > end) break
        if (steps > 5000) throw new Error('time stands still')
        now = Math.max(now, next)
        links.handleDeadline(now, outputs)
        receivers.handleDeadline(now, outputs)
      }
      now = end
    },
    end(): Outcome {
      links.handleEvent({ ...segment, address: undefined }, now, outputs)
      if (joined.size > 0) throw new Error(`still joined: ${[...joined]}`)
      return { changes, operations: outputs.length }
    },
  }
}

/** Conversations with everything in them: two routers, overrides, asserts, joins of xTRs. */
export function pimSeeds(): Uint8Array[] {
  return ([4, 6] as const).flatMap((family) => {
    const { own, routers, source, group } = LINK[family]
    const specific = aGroup(`(${source},${group})`)
    const join = aJoinPrune('join', specific, own)
    const prune = aJoinPrune('prune', specific, own)
    const elsewhere = aJoinPrune('prune', specific, `${routers}4`)
    const anAssert: PimMessage = {
      kind: 'pim-assert',
      group: join.groups[0]!.group,
      source: { address: anAddress(source), attributes: [] },
      rpTree: false,
      metricPreference: 110,
      metric: 20,
    }
    const ours = aGroup('(10.2.0.5,232.1.1.1)')
    const attributes = [{ kind: 'transport', transport: 'unicast' } as const]
    const asked = (what: 'join' | 'prune'): PimMessage => ({
      ...aJoinPrune(what, ours, '192.0.2.2'),
      upstreamNeighbor: { address: OWN_RLOC, attributes },
    })
    const conversations: (readonly (readonly [who: number, message: PimMessage])[])[] = [
      [
        [0, aHello()],
        [0, join],
        [0, prune],
      ],
      [
        [0, aHello()],
        [1, aHello()],
        [0, join],
        [0, prune],
        [1, join],
        [1, elsewhere],
      ],
      [
        [0, aHello()],
        [0, join],
        [0, anAssert],
        [0, aHello({ generation: 9 })],
        [0, aHello({ holdtime: 0 })],
      ],
      [
        [XTR_BIT, asked('join')],
        [XTR_BIT | 1, asked('join')],
        [XTR_BIT, asked('prune')],
      ],
    ]
    return conversations.map((messages) => seedOf(family, messages))
  })
}

function seedOf(
  family: 4 | 6,
  messages: readonly (readonly [who: number, message: PimMessage])[],
): Uint8Array {
  const bytes: number[] = [family === 4 ? 0 : 1]
  const { routers, all } = LINK[family]
  for (const [who, message] of messages) {
    const isXtr = (who & XTR_BIT) !== 0
    const last = 3 + (who & 3)
    const source = anAddress(isXtr ? `192.0.2.${last}` : `${routers}${last}`)
    const destination = anAddress(isXtr ? '192.0.2.2' : all)
    const one = encodePim(message, { source, destination })
    bytes.push(who, 1, one.length >> 8, one.length & 255, ...one)
  }
  return Uint8Array.from(bytes)
}
