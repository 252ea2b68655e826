/**
 * The packet vectors on the model datapath, through its byte door.
 */
import t from 'tap'
import {
  type ClosedOperation,
  NOT_CLOSED,
} from '../../src/control/closed-network/closed-vocabulary.js'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import { createModelDatapath } from '../../src/datapath/model-datapath.js'
import { createFrameDoor, type FrameOutcome } from '../../src/datapath/model-frames.js'
import { parseIpAddress } from '../../src/lisp/address.js'
import { type EidPrefix, parseEidPrefix } from '../../src/lisp/eid.js'
import { createTimeline } from '../../src/sim/timeline.js'
import { macBytes, macText, openFrame } from './frames.js'
import { groupMacOf } from './packets.js'
import { encapsulationOf, putReplication } from './replication-puts.js'
import { PACKET_VECTORS } from './vectors/all.js'
import type { PacketVector, VectorCopies, VectorOutcome } from './vectors/vector.js'
import { INSTANCE, MAC, OWN_RLOC } from './workbench.js'

for (const { title, vectors } of PACKET_VECTORS)
  t.test(title, async (t) => {
    for (const vector of vectors) run(t, vector)
  })

type Test = Pick<typeof t, 'same' | 'equal'>

function run(test: Test, vector: PacketVector): void {
  const events: DatapathEvent[] = []
  const { model, door } = open(vector, events)
  for (const [index, step] of vector.steps.entries()) {
    const name = `${vector.name}, packet ${index + 1} ${step.what ?? ''}`
    for (const operation of step.operations ?? []) model.perform(operation)
    events.length = 0
    const before = step.tally && model.counters().tallies[step.tally]
    const { frame } = step
    const outcome =
      step.from === 'site'
        ? door.fromSite(model, frame, 'site0', INSTANCE)
        : door.fromCore(model, frame)
    compare(test, outcome, step.out, name)
    if (step.raises) {
      const raised = events.filter((one) => one.kind !== 'packet-held')
      test.same(raised, step.raises, `${name}: events`)
    }
    if (step.tally) test.equal(model.counters().tallies[step.tally], before! + 1, `${name}: tally`)
  }
}

function open(vector: PacketVector, events: DatapathEvent[]) {
  const timeline = createTimeline()
  const door = createFrameDoor(Object.values(OWN_RLOC).map((text) => parseIpAddress(text)!))
  const model = createModelDatapath(
    {
      eidPrefixes: [],
      dynamicEidPrefixes: [],
      siteInterfaces: [{ name: 'site0' }, { name: 'site2' }],
      multicast: true,
      hold: {
        packetsPerEid: 100,
        bytesPerEid: 1_000_000,
        bytesTotal: 1_000_000,
        maximumEids: 16,
        longestMs: { 'map-cache-miss': 5000, 'endpoint-expected': 4000 },
        windowMs: 2000,
        provisionalGuardMs: 100,
      },
      maximumMappings: 64,
      maximumLocalEids: 64,
      closed: { ...NOT_CLOSED, ...vector.closed },
    },
    {
      ...door.surroundings,
      now: timeline.now,
      after: timeline.after,
      commandMs: () => 1,
      raise: (event) => events.push(event),
      frame() {},
    },
  )
  for (const [text, about] of Object.entries(vector.locals ?? {})) {
    const { state, reportSenders = false, uncommitted = false } = about
    model.perform({
      kind: 'put-local-eid',
      eidPrefix: prefixOf(text),
      state: state === 'prefix' ? 'local' : state,
      interfaceName: 'site0',
      mac: macBytes(MAC.host),
      dynamicPrefix: state === 'prefix',
      reportSenders,
      proxyNeighbours: !uncommitted,
      release: [],
    })
  }
  for (const [text, { action, to = [] }] of Object.entries(vector.mappings ?? {}))
    model.perform({
      kind: 'put-map-cache',
      eidPrefix: prefixOf(text),
      action,
      encapsulations: to.map(encapsulationOf),
      release: [],
    })
  for (const [text, fields] of Object.entries(vector.groups ?? {}))
    model.perform(putReplication(text, fields))
  for (const operation of vector.facts ?? ([] as ClosedOperation[])) model.perform(operation)
  if (vector.noHold) model.crash()
  return { model, door }
}

function prefixOf(text: string): EidPrefix {
  const bits = text.includes(':') ? 128 : 32
  return parseEidPrefix(`[${INSTANCE}]${text.includes('/') ? text : `${text}/${bits}`}`)!
}

function compare(test: Test, outcome: FrameOutcome, wanted: VectorOutcome, name: string): void {
  if (typeof wanted === 'string') test.equal(outcome.kind, wanted, name)
  else if ('drop' in wanted) test.same(outcome, { kind: 'drop', reason: wanted.drop }, name)
  else if ('site' in wanted)
    test.same(
      outcome,
      { kind: 'site', packet: wanted.site, mac: macBytes(MAC.host), interfaceName: 'site0' },
      name,
    )
  else if ('copies' in wanted) compareCopies(test, outcome, wanted, name)
  else if (outcome.kind !== 'core') test.equal(outcome.kind, 'core', name)
  else {
    const [got, expected] = [outcome.packet, wanted.core].map(taken)
    test.same(got, expected, name)
  }
}

function compareCopies(
  test: Test,
  outcome: FrameOutcome,
  wanted: VectorCopies,
  name: string,
): void {
  const all = outcome.kind === 'copies' ? outcome.copies : [outcome]
  const core = all.flatMap((one) => (one.kind === 'core' ? [one.packet] : []))
  test.same(core.map(taken), wanted.copies.map(taken), `${name}: copies`)
  const segments = all.flatMap((one) => (one.kind === 'site' ? [one] : []))
  const found = segments.map((one) => [one.interfaceName, one.packet, macText(one.mac!)])
  const expected = Object.entries(wanted.segments ?? {}).map(([segment, packet]) => [
    segment,
    packet,
    groupMacOf(packet),
  ])
  test.same(found, expected, `${name}: segments`)
  const drops = all.flatMap((one) => (one.kind === 'drop' ? [one.reason] : []))
  test.same(drops.sort(), [...(wanted.drops ?? [])].sort(), `${name}: drops`)
}

function taken(packet: Uint8Array): { outer: string; inner: string } {
  const { outer, inner } = openFrame(new Uint8Array([...new Uint8Array(14), ...packet]))
  return { outer: Buffer.from(outer).toString('hex'), inner: Buffer.from(inner).toString('hex') }
}
