/**
 * Reading topologies: what is accepted, what is refused and with which words, what is built from
 * them.
 */
import { readdirSync } from 'node:fs'
import t from 'tap'
import { expectedRegistrations } from '../../src/lab/daemons.js'
import { labPaths, namespaceOf, packageFile } from '../../src/lab/names.js'
import { creationBatch, nodeBatch, nodeSysctls } from '../../src/lab/network.js'
import { startTimeOf, stateOf } from '../../src/lab/processes.js'
import { kernelAtLeast, missingRequirements } from '../../src/lab/requirements.js'
import {
  addressesOf,
  daemonNodes,
  loadTopology,
  panelOf,
  parseTopology,
  peerOf,
} from '../../src/lab/topology.js'

const SMALL = `
name: small
topology:
  nodes:
    left: { kind: router, addresses: { eth0: [10.0.0.1/24, "fd00::1/64"] } }
    gate:
      kind: xtr
      bridges: { br0: { mac: 02:00:00:00:00:01, ports: [p1], addresses: [10.1.0.1/24] } }
      routes: [{ to: default, via: 10.0.0.1 }]
      config: { roles: [itr] }
    one: { kind: endpoint, addresses: { eth0: [10.1.0.5/24] } }
    cable: { kind: panel, panel: { port: port, legs: { gate: leg }, active: gate } }
  links:
    - { endpoints: ["left:eth0", "gate:core0"], mtu: 9000 }
    - endpoints: ["gate:p1", "cable:leg"]
    - endpoints: ["one:eth0", "cable:port"]
moves: [{ endpoint: one, to: gate }]
`

t.test('every topology in the repository is valid', async (t) => {
  const files = readdirSync(packageFile('topologies')).filter((name) => name.endsWith('.yaml'))
  t.ok(files.includes('two-clouds.yaml') && files.includes('static-pair.yaml'))
  for (const file of files) {
    const result = loadTopology(packageFile('topologies', file))
    t.same(result.ok ? [] : result.errors, [], file)
    t.equal(result.ok && `${result.topology.name}.yaml`, file, 'the name is the file’s')
  }
})

t.test(
  'the demo has eight orchestrated moves, two with a blackout and two detected ones',
  async (t) => {
    const result = loadTopology(packageFile('topologies', 'two-clouds.yaml'))
    if (!result.ok) return t.fail('not valid')
    const count = (trigger: string): number =>
      result.topology.moves.filter((move) => move.trigger === trigger).length
    t.same([count('orchestrated'), count('blackout'), count('detected')], [8, 2, 2])
    t.same(daemonNodes(result.topology), ['cloud-a', 'cloud-b', 'client', 'mapping'])
    t.same(
      expectedRegistrations(result.topology).sort(),
      [
        '10.10.0.5/32',
        '10.10.0.6/32',
        '10.10.0.7/32',
        '10.20.0.0/24',
        'fd00:10::5/128',
        'fd00:10::6/128',
        'fd00:10::7/128',
        'fd00:20::/64',
      ],
      'hosts inside dynamic prefixes register themselves, static prefixes as a whole',
    )
    const client = result.topology.topology.nodes['cloud-a']!
    const other = result.topology.topology.nodes['cloud-b']!
    t.same(client.bridges['br0']?.mac, other.bridges['br0']?.mac, 'the gateway is anycast')
    t.same(client.bridges['br0']?.addresses, other.bridges['br0']?.addresses)
  },
)

t.test('defaults are filled in and questions answered', async (t) => {
  const result = parseTopology(SMALL)
  if (!result.ok) return t.fail(JSON.stringify(result.errors))
  const { topology } = result
  t.equal(topology.topology.links[1]?.mtu, 1500)
  t.equal(topology.moves[0]?.trigger, 'orchestrated')
  t.same(topology.topology.nodes['one']?.routes, [])
  t.same(peerOf(topology, 'one', 'eth0'), { node: 'cable', interfaceName: 'port' })
  t.equal(peerOf(topology, 'one', 'eth9'), undefined)
  t.equal(panelOf(topology, 'one'), 'cable')
  t.equal(panelOf(topology, 'left'), undefined)
  t.same(addressesOf(topology, 'left'), ['10.0.0.1', 'fd00::1'])
  t.same(addressesOf(topology, 'gate'), ['10.1.0.1'])
})

t.test('a topology becomes batches of ip commands', async (t) => {
  const result = parseTopology(SMALL)
  if (!result.ok) return t.fail('not valid')
  t.equal(
    creationBatch(result.topology),
    [
      'netns add gw-small.left',
      'netns add gw-small.gate',
      'netns add gw-small.one',
      'netns add gw-small.cable',
      'link add name eth0 netns gw-small.left mtu 9000 type veth peer name core0 netns gw-small.gate mtu 9000',
      'link add name p1 netns gw-small.gate mtu 1500 type veth peer name leg netns gw-small.cable mtu 1500',
      'link add name eth0 netns gw-small.one mtu 1500 type veth peer name port netns gw-small.cable mtu 1500',
      '',
    ].join('\n'),
  )
  t.equal(
    nodeBatch(result.topology, 'gate'),
    [
      'link set dev lo up',
      'link add dev br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0',
      'link set dev br0 address 02:00:00:00:00:01',
      'link set dev p1 master br0',
      'address add 10.1.0.1/24 dev br0',
      'link set dev br0 up',
      'link set dev core0 up',
      'link set dev p1 up',
      'route add default via 10.0.0.1',
      '',
    ].join('\n'),
  )
  t.match(nodeBatch(result.topology, 'left'), /address add fd00::1\/64 dev eth0 nodad\n/)
  const { nodes } = result.topology.topology
  const sysctl = (node: string): Map<string, string> => new Map(nodeSysctls(nodes[node]!))
  t.equal(sysctl('gate').get('ipv4/ip_forward'), '1')
  t.equal(sysctl('one').get('ipv4/ip_forward'), undefined, 'an endpoint does not forward')
  t.equal(sysctl('cable').get('ipv6/conf/default/disable_ipv6'), '1', 'a cable is silent')
})

t.test('mistakes come back all at once, each with its place', async (t) => {
  const paths = (text: string): string[] => {
    const result = parseTopology(text)
    return result.ok ? [] : result.errors.map(({ path, problem }) => `${path}: ${problem}`)
  }
  t.match(paths('name: [')[0], /is not valid YAML/)
  t.same(paths(SMALL.replace('kind: router', 'kind: rooter')).length, 1)
  t.match(paths(SMALL.replace('name: small', 'name: Small'))[0], /^name: /)
  t.match(paths(SMALL.replace('mtu: 9000', 'mtu: 900'))[0], /^topology\.links\[0\]\.mtu: /)
  t.match(paths(SMALL.replace('mtu: 9000', 'mtuu: 9000'))[0], /mtuu: unknown key/)
  const broken = SMALL.replace('"left:eth0"', '"lft:eth0"')
    .replace('ports: [p1]', 'ports: [p2]')
    .replace('active: gate', 'active: nowhere')
    .replace('to: gate }', 'to: left }')
    .replace('      config: { roles: [itr] }\n', '')
  t.same(paths(broken), [
    'topology.links[0].endpoints: there is no node lft',
    'topology.nodes.left.addresses.eth0: no link ends in eth0',
    'topology.nodes.gate.bridges.br0.ports: no link ends in p2',
    'topology.nodes.gate.config: missing',
    'topology.nodes.cable.panel.active: is not a leg',
    'moves[0].to: cable has no leg to left',
  ])
  t.match(loadTopology('/nonexistent.yaml'), { ok: false, errors: [{ problem: /cannot be read/ }] })
})

t.test('names of one topology never match another’s', async (t) => {
  t.equal(namespaceOf('two', 'clouds-vm1'), 'gw-two.clouds-vm1')
  t.notOk(namespaceOf('two-clouds', 'vm1').startsWith(namespaceOf('two', '')))
  t.not(labPaths('a').pins, labPaths('b').pins)
})

t.test('what is missing on a machine is said in one sentence each', async (t) => {
  const good = {
    uid: 0,
    kernel: '6.12.1-amd64',
    path: process.env['PATH'] ?? '',
    platform: 'linux',
  }
  t.same(missingRequirements(good), [])
  t.match(missingRequirements({ ...good, uid: 1000 }), [/^Root is needed to .* sudo\.$/])
  t.match(missingRequirements({ ...good, kernel: '6.1.0-13-amd64' }), [
    /6\.6 or newer .*\(this is 6\.1/,
  ])
  t.match(missingRequirements({ ...good, platform: 'darwin' }), [/needs Linux/])
  t.ok(kernelAtLeast('6.6', [6, 6]))
  t.ok(kernelAtLeast('10.0.1', [6, 6]))
  t.notOk(kernelAtLeast('5.15.0', [6, 6]))
  t.notOk(kernelAtLeast('strange', [6, 6]))
})

t.test('a process is known by PID and start time', async (t) => {
  t.match(startTimeOf(process.pid), /^\d+$/)
  t.match(stateOf(process.pid), /^[RS]$/)
  t.equal(startTimeOf(0x7ffffff), undefined)
})
