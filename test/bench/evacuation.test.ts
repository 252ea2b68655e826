/**
 * The evacuation's network and arithmetic: what it counts follows from the records, and its daemons
 * have configurations without errors. Nothing is measured here.
 */
import t from 'tap'
import { countMessages } from '../../bench/evacuation/control-count.js'
import { figuresOf } from '../../bench/evacuation/measure.js'
import { endpointAddress, evacuationTopology } from '../../bench/evacuation/topology.js'
import { parseConfig } from '../../src/config/load.js'
import type { PacketRecord } from '../../src/demo/records.js'

t.test('every endpoint has an address of its own inside the farms’ prefix', async (t) => {
  const addresses = Array.from({ length: 4_096 }, (_, index) => endpointAddress(index))
  t.equal(new Set(addresses).size, 4_096)
  t.ok(addresses.every((one) => /^10\.40\.([1-9]|1\d)\.(\d+)$/.test(one)))
  const { topology } = evacuationTopology('x')
  for (const node of ['cloud-a', 'cloud-b', 'mapping']) {
    const given = topology.topology.nodes[node]!.config as Record<string, unknown>
    const result = parseConfig(JSON.stringify({ node, ...given }), (path) => ({
      ok: true,
      text: `the secret of ${path}`,
      worldReadable: false,
    }))
    t.same(result.ok ? [] : result.errors, [], node)
  }
  const macs = ['farm-a', 'farm-b'].map((farm) => topology.topology.nodes[farm]!.macs['eth0'])
  t.equal(macs[0], macs[1], 'a machine takes its MAC address along')
})

t.test('what arrived in either farm is not lost, and twice is doubled', async (t) => {
  const record = (stream: number, sequence: number, receivedMs?: number): PacketRecord => ({
    stream,
    sequence,
    sentNs: sequence * 1e7,
    receivedNs: receivedMs === undefined ? undefined : receivedMs * 1e6,
    hopLimit: 61,
  })
  const sent = [record(1, 0), record(1, 1), record(1, 2), record(2, 0)]
  const received = [record(1, 0, 1), record(1, 1, 132), record(1, 1, 131), record(2, 0, 3)]
  t.same(figuresOf(sent, received), { sent: 4, lost: 1, duplicated: 1, longestGapMs: 130 })
})

t.test('a capture without messages counts none', async (t) => {
  t.same(countMessages(new Uint8Array()), {})
})
