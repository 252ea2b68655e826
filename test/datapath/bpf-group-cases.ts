/**
 * What only the kernel's programs decide about packets to groups: routes, and who is told of sizes.
 */
import t from 'tap'
import { NODE_FLAGS } from '../../src/datapath/abi.generated.js'
import { bench, dropped } from './bpf-fixtures.js'
import { ip, macBytes, udp } from './frames.js'
import { data, fromCore, groupMac, REMOTE, toGroup } from './packets.js'
import { groupNamed, putReplication } from './replication-puts.js'

const GROUP = '239.1.1.1'
const NAME = `(${REMOTE[4]},${GROUP})`

t.test('a group of the core is taken on the path to its sender alone', async (t) => {
  const tables = bench.replicationTables()
  bench.putNode({ flags: NODE_FLAGS.multicast })
  tables.perform(putReplication(NAME, { on: ['site2'] }))
  const inner = ip({ source: REMOTE[4], destination: GROUP }, udp(1, 2, data(20)))
  const from = (source: string) => {
    const frame = fromCore(4, inner, { outer: { source, destination: '232.9.9.9' } })
    frame.set(macBytes(groupMac('232.9.9.9')))
    return () => bench.fromCore(frame)
  }
  const before = bench.tallies('group-delivered')
  from('198.51.100.2')()
  t.equal(bench.tallies('group-delivered'), before + 1)
  dropped(t, 'reverse-path', from('10.1.0.77'), 'its sender is routed to the site')
  dropped(t, 'reverse-path', from('203.0.113.9'), 'its sender is not routed at all')
  bench.putNode({})
  t.equal(from('198.51.100.2')().verdict, -1, 'without multicast it is no business of ours')
  bench.putNode({ flags: NODE_FLAGS.multicast })
  tables.perform({ kind: 'delete-replication', group: groupNamed(NAME) })
  tables.close()
  bench.putNode({})
})

t.test('an oversize IPv6 packet to a group is answered, an IPv4 one is not', async (t) => {
  const tables = bench.replicationTables()
  bench.putNode({ flags: NODE_FLAGS.multicast })
  for (const [family, group, source] of [
    [4, GROUP, '10.1.77.2'],
    [6, 'ff3e::8000:1', 'fd00:a:77::2'],
  ] as const) {
    const name = `(${source},${group})`
    bench.putLocal(source, 'local')
    tables.perform(putReplication(name, { to: [{ family: 4, pathMtu: 1300 }] }))
    const frame = toGroup(family, group, { source, dontFragment: true }, udp(1, 2, data(1300)))
    dropped(t, 'group-copy-too-big', () => bench.fromSite(frame), `IPv${family}`)
    const event = family === 6 ? await bench.event('packet-too-big', group) : undefined
    if (family === 6) t.equal(event?.mtu, 1300 - 36, 'what all paths can take')
    else t.equal(bench.countEvents('packet-too-big', group), 0)
    tables.perform({ kind: 'delete-replication', group: groupNamed(name) })
    bench.deleteLocal(source)
  }
  tables.close()
  bench.putNode({})
})
