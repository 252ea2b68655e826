/**
 * What the records of senders and receivers of groups say: losses, copies, leaks, and the verdict.
 */
import t from 'tap'
import {
  computeGroupFigures,
  type GroupFigures,
  type Membership,
} from '../../src/demo/multicast/figures.js'
import { type GroupExpectation, judgeGroups } from '../../src/demo/multicast/result.js'
import type { PacketRecord } from '../../src/demo/records.js'

const MS = 1e6
const STREAMS = [
  { id: 1, family: 'ipv4', group: '[7](10.40.0.5,232.1.1.1)' },
  { id: 2, family: 'ipv6', group: '[7](*,ff1e::8000:1)' },
] as const

/** One packet per millisecond, each stream `count` of them. */
function sentBy(stream: number, count: number): PacketRecord[] {
  return Array.from({ length: count }, (_, sequence) => ({
    stream,
    sequence,
    sentNs: sequence * MS,
    receivedNs: undefined,
    hopLimit: 0,
  }))
}

/** 2 ms after it was sent. */
function arrivals(stream: number, from: number, until: number, except: number[] = []) {
  return sentBy(stream, until)
    .filter(({ sequence }) => sequence >= from && !except.includes(sequence))
    .map((one) => ({ ...one, receivedNs: one.sentNs + 2 * MS, hopLimit: 60 }))
}

function stay(joined: number, left?: number) {
  return { joinedNs: joined * MS, leftNs: left === undefined ? undefined : left * MS }
}

function figuresOf(
  memberships: Membership[],
  received: Record<string, PacketRecord[]>,
): GroupFigures {
  const windows = [{ what: 'camera: a → b', fromNs: 500 * MS, untilNs: 800 * MS }]
  const sent = STREAMS.flatMap(({ id }) => sentBy(id, 1000))
  return computeGroupFigures(STREAMS, memberships, sent, new Map(Object.entries(received)), windows)
}

t.test('a receiver is due what was sent from its first packet until it left', async (t) => {
  const memberships = [{ receiver: 'host', stream: 1, stays: [stay(100, 700)] }]
  const [row] = figuresOf(memberships, { host: arrivals(1, 120, 699) }).receivers
  t.match(row, { received: 579, joinToFirstPacketMs: 22, lost: 0, duplicated: 0 })
  const early = figuresOf(memberships, { host: arrivals(1, 120, 600) }).receivers[0]!
  t.equal(early.lost, 50, 'what stopped long before it left is lost, the last 50 ms are not')
})

t.test('what is lost or doubled belongs to the move in whose window it was sent', async (t) => {
  const memberships = [{ receiver: 'host', stream: 1, stays: [stay(0)] }]
  const received = arrivals(1, 0, 1000, [300, 510, 511])
  const twice = received.filter(({ sequence }) => sequence === 600 || sequence === 900)
  const figures = figuresOf(memberships, { host: [...received, ...twice] })
  t.match(figures.receivers[0], { lost: 3, duplicated: 2, received: 997 })
  t.match(figures.moves, [{ what: 'camera: a → b', lost: 2, duplicated: 1 }])
  t.match(figures.elsewhere, { lost: 1, duplicated: 1 })
})

t.test('who comes back is due nothing of the time between, and each join counts', async (t) => {
  const stays = [stay(0, 300), stay(600)]
  const memberships = [{ receiver: 'host', stream: 1, stays }]
  const host = [...arrivals(1, 5, 299), ...arrivals(1, 640, 1000)]
  const [row] = figuresOf(memberships, { host }).receivers
  t.match(row, { lost: 0, joinToFirstPacketMs: 42 })
  const silent = figuresOf(memberships, { host: arrivals(1, 5, 299) }).receivers[0]
  t.match(silent, { joinToFirstPacketMs: null }, 'the second join brought nothing')
})

t.test('packets of a stream that nobody there asked for have leaked', async (t) => {
  const memberships = [
    { receiver: 'host', stream: 1, stays: [stay(0)] },
    { receiver: 'other', stream: undefined, stays: [stay(0)] },
  ]
  const received = { host: arrivals(1, 0, 1000), other: arrivals(2, 0, 7) }
  t.same(figuresOf(memberships, received).leaked, { other: 7 })
})

t.test('a run is judged by every promise', async (t) => {
  const memberships = [{ receiver: 'host', stream: 1, stays: [stay(0)] }]
  const expected: GroupExpectation = {
    memberships: 1,
    moves: 1,
    failures: [],
    leastPackets: 900,
    overflow: 0,
    unaskedCopies: 0,
  }
  const good = figuresOf(memberships, { host: arrivals(1, 0, 1000) })
  t.same(judgeGroups(good, expected).reasons, [])
  t.equal(judgeGroups(good, expected).result.ok, true)
  const worse: [string, GroupFigures, Partial<GroupExpectation>][] = [
    ['lost', figuresOf(memberships, { host: arrivals(1, 0, 1000, [9]) }), {}],
    [
      'doubled',
      figuresOf(memberships, { host: [...arrivals(1, 0, 1000), ...arrivals(1, 3, 4)] }),
      {},
    ],
    ['heard nothing', figuresOf(memberships, { host: [] }), { leastPackets: 0 }],
    [
      'had not asked',
      figuresOf(memberships, { host: arrivals(1, 0, 1000), b: arrivals(2, 0, 1) }),
      {},
    ],
    ['got only', good, { leastPackets: 1001 }],
    ['did not take place', good, { moves: 2 }],
    ['receivers are missing', good, { memberships: 2 }],
    ['too slow', good, { overflow: 1 }],
    ['nobody had asked for', good, { unaskedCopies: 1 }],
    ['refused', good, { failures: ['refused'] }],
  ]
  for (const [word, figures, more] of worse) {
    const { result, reasons } = judgeGroups(figures, { ...expected, ...more })
    t.equal(result.ok, false)
    t.match(reasons.join('\n'), word)
  }
})
