/**
 * The listeners and the querier of a segment under damaged conversations of IGMP or MLD: what an input
 * says is received message by message, time passes between them, and afterwards there is silence until
 * nothing may be left. Joins and leaves must mirror each other, limits must hold, time must go on.
 *
 * byte 0: family; then of each message: host, seconds, length (2 bytes), bytes with their checksum put right.
 */
import { encodeIgmp } from '../../src/lisp/multicast/igmp.js'
import type { GroupRecordType, MembershipMessage } from '../../src/lisp/multicast/membership.js'
import { encodeMld } from '../../src/lisp/multicast/mld.js'
import { anAddress } from '../support/builders.js'
import { aSegment } from '../support/segment-world.js'
import type { Target } from './campaign.js'
import { repairGroupMessage } from './repair-checksums.js'

const HOSTS = { 4: '10.0.0.', 6: 'fe80::' } as const
const DESTINATION = { 4: anAddress('224.0.0.22'), 6: anAddress('ff02::16') } as const
const LIMITS = { maximumGroups: 6, maximumGroupsPerHost: 4, maximumSources: 4 }
/** Few queries, so that silence is soon over. */
const TIMING = {
  robustness: 1,
  queryIntervalMs: 7_200_000,
  queryResponseMs: 10_000,
  lastMemberQueryMs: 1000,
}
/** Longer than anything that a querier may say: 7 times an hour, and the answer. */
const SILENCE_MS = 8 * 3_600_000
const MAXIMUM_MESSAGES = 16
const HEADER_BYTES = 4

interface Outcome {
  /** Messages that were not ignored. */
  readonly taken: number
  readonly joined: readonly string[]
  readonly changes: readonly string[]
}

interface Said {
  readonly from: string
  readonly seconds: number
  readonly bytes: Uint8Array
}

function familyOf(input: Uint8Array): 4 | 6 {
  return ((input[0] ?? 0) & 1) === 0 ? 4 : 6
}

function messagesOf(input: Uint8Array): Said[] {
  const said: Said[] = []
  for (let at = 1; at + HEADER_BYTES <= input.length && said.length < MAXIMUM_MESSAGES; ) {
    const [host, seconds, high, low] = input.subarray(at, at + HEADER_BYTES)
    const length = ((high! & 3) << 8) | low!
    const bytes = input.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length)
    said.push({ from: `${HOSTS[familyOf(input)]}${1 + (host! & 7)}`, seconds: seconds!, bytes })
    at += HEADER_BYTES + length
  }
  return said
}

export const membershipTarget: Omit<Target<Outcome>, 'seeds'> = {
  name: 'membership',
  weight: 1,
  decode(input) {
    const family = familyOf(input)
    const own = `${HOSTS[family]}4`
    const world = aSegment({
      ...LIMITS,
      timing: TIMING,
      family,
      own,
      fastLeave: ((input[0] ?? 0) & 2) !== 0,
    })
    for (const { from, seconds, bytes } of messagesOf(input)) {
      world.receiveBytes(bytes, from)
      world.run(seconds * 1000)
      const { groups } = world.segment.view()
      if (groups > LIMITS.maximumGroups) throw new Error(`${groups} groups`)
      for (const { sources, excluded } of world.segment.listeners.views(world.now()))
        if (sources.length + excluded.length > LIMITS.maximumSources) throw new Error('sources')
    }
    const joined = world.joined()
    const { ignored } = world.segment.view()
    world.run(SILENCE_MS)
    const left = [...world.joined(), ...world.segment.listeners.views(world.now())]
    if (left.length > 0) throw new Error(`still there: ${JSON.stringify(left)}`)
    return { taken: messagesOf(input).length - ignored, joined, changes: world.changes }
  },
  isDecoded: ({ taken }) => taken > 0,
  repair(input) {
    const family = familyOf(input)
    for (const { from, bytes } of messagesOf(input)) {
      const addresses = [anAddress(from).bytes, DESTINATION[family].bytes]
      repairGroupMessage(bytes, family === 6 ? addresses : undefined, 58)
    }
  },
}

/** Conversations with everything in them: all records, older hosts, another querier. */
export function membershipSeeds(): Uint8Array[] {
  return ([4, 6] as const).flatMap((family) => {
    const protocol = family === 4 ? 'igmp' : 'mld'
    const group = anAddress(family === 4 ? '239.1.1.1' : 'ff1e::1')
    const sources = [1, 2].map((last) =>
      anAddress(family === 4 ? `10.9.0.${last}` : `2001:db8::${last}`),
    )
    const report = (...types: GroupRecordType[]): MembershipMessage => {
      return {
        kind: 'source-membership-report',
        protocol,
        records: types.map((type) => ({ type, group, sources })),
      }
    }
    const terms = {
      suppressRouterProcessing: false,
      robustness: 2,
      queryIntervalCode: 10,
      sources: [],
    }
    const query: MembershipMessage = {
      kind: 'membership-query',
      protocol,
      version: family === 4 ? 3 : 2,
      maxResponseCode: 10,
      group,
      sourceTerms: terms,
    }
    const older = { kind: 'membership-report', protocol, version: 1, group } as const
    const leave = { kind: 'membership-leave', protocol, group } as const
    const conversations: (readonly MembershipMessage[])[] = [
      [report('mode-is-include'), report('block-old-sources'), report('mode-is-exclude')],
      [report('change-to-exclude', 'allow-new-sources'), query, report('change-to-include')],
      [older, report('mode-is-exclude'), leave, report('change-to-include'), query],
    ]
    return conversations.flatMap((messages) => [0, 2].map((fast) => seedOf(family, fast, messages)))
  })
}

function seedOf(family: 4 | 6, fast: number, messages: readonly MembershipMessage[]): Uint8Array {
  const bytes: number[] = [(family === 4 ? 0 : 1) | fast]
  messages.forEach((message, host) => {
    const source = anAddress(`${HOSTS[family]}${1 + (host & 7)}`)
    const addresses = { source, destination: DESTINATION[family] }
    const one = family === 4 ? encodeIgmp(message) : encodeMld(message, addresses)
    bytes.push(host, 1, one.length >> 8, one.length & 255, ...one)
  })
  return Uint8Array.from(bytes)
}
