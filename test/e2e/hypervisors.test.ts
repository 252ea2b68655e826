/**
 * Hypervisors and real daemons, without a machine: what was announced survives kill -9, and of two
 * agents that both claim a machine the one wins where it speaks.
 *
 *   host1 ── client ── core ── cloud-a ── vm1
 *                       │ └─── cloud-b ── (nothing)
 *                    mapping
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import type { Topology } from '../../src/config/topology-schema.js'
import { createDomainWatch, type DomainWatch } from '../../src/hypervisor/domain-watch.js'
import { createNodeClient } from '../../src/hypervisor/node-client.js'
import { listIn } from '../../src/lab/api-request.js'
import { poll } from '../../src/lab/daemons.js'
import { socketOf } from '../../src/lab/names.js'
import { killDaemon, metricsOf, reviveDaemon, untilHealthy } from '../support/daemon-control.js'
import { labSkip, type RunningLab, type RunningProgram, startLab } from '../support/running-lab.js'

const NAME = 'e2e-hv'
const UUID = '5e1f0a10-0000-4000-8000-000000000077'
const SILENT = '[7]10.10.0.77'
const VM1 = ['[7]10.10.0.5', '[7]fd00:10::5']
const RLOC = { 'cloud-a': '172.16.1.1', 'cloud-b': '172.16.2.1' }
/** Generous: the machine may be busy with other tests. */
const PATIENCE_MS = 20_000
const QUIET_MS = 2_000

t.setTimeout(180_000)

t.test('hypervisors of two clouds', { skip: labSkip }, async (t) => {
  const lab = await startLab(t, 'two-clouds.yaml', NAME, { reshape: withSecondSegment })
  await untilVm1Is(lab, 'cloud-a')

  await t.test('an announced machine outlives kill -9 of its daemon', async (t) => {
    const answer = await announce(lab, 'cloud-b')
    t.equal(answer.status, 201)
    const before = (await lab.api('cloud-b', '/v1/workloads')).body
    await killDaemon(lab, 'cloud-b')
    reviveDaemon(lab, 'cloud-b')
    await untilHealthy(lab, 'cloud-b')
    t.same((await lab.api('cloud-b', '/v1/workloads')).body, before)
    t.equal(await stateOf(lab, 'cloud-b', SILENT), 'local')
    const path = `/v1/workloads/${UUID}`
    t.equal((await lab.api('cloud-b', path, { method: 'DELETE' })).status, 200)
    t.equal(await stateOf(lab, 'cloud-b', SILENT), undefined, 'withdrawn by the next run')
    t.equal((await lab.api('cloud-b', path, { method: 'DELETE' })).status, 404)
  })

  await t.test(
    'a host that takes an address and says nothing is found by asking',
    { skip: hasBusybox ? false : 'busybox is not installed' },
    async (t) => {
      const server = await leaseFrom(lab, 'vm1')
      t.teardown(() => server.stop())
      const client = ['udhcpc', '-i', 'eth0', '-n', '-q', '-f', '-t', '10', '-T', '1']
      const script = join(lab.directory, 'udhcpc.sh')
      const { code, stderr } = await lab.run('vm2', 'busybox', ...client, '-s', script)
      t.equal(code, 0, stderr)
      await lab.run('vm2', 'sysctl', '-w', 'net.ipv6.conf.eth0.accept_dad=1')
      await lab.run('vm2', 'ip', 'address', 'add', `${LEASED.ipv6}/64`, 'dev', 'eth0')
      await poll(PATIENCE_MS, async () => {
        const eids = Object.values(LEASED).map((address) => `[7]${address}`)
        const entries = listIn((await lab.api('mapping', '/v1/registrations')).body)
        const known = entries.map(({ eidPrefix }) => String(eidPrefix))
        const missing = eids.filter((eid) => !known.some((one) => one.startsWith(`${eid}/`)))
        return missing.length === 0 ? undefined : `not registered: ${missing}`
      })
      const metrics = await metricsOf(lab, 'cloud-a')
      for (const kind of ['dhcpv4', 'duplicate-address-detection']) {
        const heard = metrics.get(`godwit_address_hints_total{${kind}}`) ?? 0
        t.ok(heard > 0, `${heard} of ${kind}`)
      }
    },
  )

  await t.test('two agents claim one machine: it is where it speaks, and stays', async (t) => {
    const warnings: string[] = []
    const [a, b] = [anAgent('cloud-a', warnings), anAgent('cloud-b', warnings)]
    b.tell('vm1', { kind: 'hook', operation: 'migrate', subOperation: 'begin' })
    await b.settled()
    for (const agent of [a, b]) agent.polled(new Map([['vm1', 'running']]))
    await Promise.all([a.settled(), b.settled()])
    t.equal(await stateOf(lab, 'cloud-b', VM1[0]!), 'local', 'its hypervisor was believed')
    // The other side was told; the machine itself says better.
    await untilVm1Is(lab, 'cloud-a')
    const settled = await versionOf(lab)
    const until = performance.now() + QUIET_MS
    while (performance.now() < until) {
      await speak(lab)
      for (const agent of [a, b]) agent.polled(new Map([['vm1', 'running']]))
    }
    await Promise.all([a.settled(), b.settled()])
    t.equal(await versionOf(lab), settled, 'nobody claimed it again')
    t.equal(await stateOf(lab, 'cloud-b', VM1[0]!), 'away', 'the loser knows')
    t.same(warnings, [])
  })

  await t.test('16 EIDs of two interfaces and two instance-IDs move as one', async (t) => {
    await addInterface(lab, 'vm2', 'cloud-a')
    await addInterface(lab, 'vm3', 'cloud-b')
    for (const one of MACHINE) await lab.run('vm2', ...one.add)
    await poll(PATIENCE_MS, async () => {
      for (const { ping } of MACHINE) await lab.run('vm2', ...ping)
      const states = await Promise.all(MACHINE.map(({ eid }) => stateOf(lab, 'cloud-a', eid)))
      return states.every((one) => one === 'local') ? undefined : `at home: ${states}`
    })
    const eids = MACHINE.map(({ eid }) => eid)
    const post = (node: string, path: string, body: object) =>
      lab.api(node, path, { method: 'POST', body })
    const begun = await post('cloud-b', '/v1/moves', { eids, mode: 'live' })
    t.match(begun.body, { state: 'ready' })
    await post('cloud-a', '/v1/endpoints/events', { event: 'stopped', eids })
    for (const one of MACHINE) await lab.run('vm2', ...one.remove)
    for (const one of MACHINE) await lab.run('vm3', ...one.add)
    await post('cloud-b', '/v1/endpoints/events', { event: 'running', eids })
    await poll(PATIENCE_MS, async () => {
      const moves = listIn((await lab.api('cloud-b', '/v1/moves')).body)
      const move = moves.find((one) => (one['eids'] as string[]).length === eids.length)
      return move?.['state'] === 'converged' ? undefined : JSON.stringify(move)
    })
    const entries = listIn((await lab.api('mapping', '/v1/registrations')).body)
    const rlocs = entries
      .filter(({ eidPrefix }) => eids.some((one) => String(eidPrefix).startsWith(`${one}/`)))
      .map(({ locators }) =>
        (locators as { rloc: string }[]).some(({ rloc }) => rloc === RLOC['cloud-b']),
      )
    t.same(
      rlocs,
      eids.map(() => true),
      'all are registered there',
    )
    for (const { eid } of MACHINE) t.equal(await stateOf(lab, 'cloud-a', eid), 'away')
    for (const { address, instanceId } of MACHINE) {
      if (instanceId !== 7) continue
      const { code } = await lab.run('host1', 'ping', '-c', '3', '-W', '2', '-q', address)
      t.equal(code, 0, `${address} answers from where it is`)
    }
  })
})

/** What vm2 gets besides its own addresses. */
const LEASED = { ipv4: '10.10.0.90', ipv6: 'fd00:10::90' }
const hasBusybox = spawnSync('busybox', ['udhcpd', '--help']).error === undefined

/** A DHCP server on `host` with one address to give, and the script of its client. */
async function leaseFrom(lab: RunningLab, host: string): Promise<RunningProgram> {
  const [config, leases] = [join(lab.directory, 'udhcpd.conf'), join(lab.directory, 'leases')]
  writeFileSync(leases, '')
  writeFileSync(
    config,
    `start ${LEASED.ipv4}
end ${LEASED.ipv4}
interface eth0
lease_file ${leases}
pidfile ${join(lab.directory, 'udhcpd.pid')}
opt subnet 255.255.255.0
opt lease 3600
`,
  )
  const script = '#!/bin/sh\n[ "$1" != bound ] || ip address add "$ip/24" dev "$interface"\n'
  writeFileSync(join(lab.directory, 'udhcpc.sh'), script, { mode: 0o755 })
  return lab.start(host, 'busybox', 'udhcpd', '-f', '-a', '10', config)
}

/** A machine of two interfaces, each with four addresses of each family. */
const MACHINE = [
  { instanceId: 7, link: 'eth0', ipv4: '10.10.0.', ipv6: 'fd00:10::', gateway: '10.10.0.1' },
  { instanceId: 8, link: 'nic1', ipv4: '10.11.0.', ipv6: 'fd00:11::', gateway: '10.11.0.1' },
].flatMap(({ instanceId, link, ipv4, ipv6, gateway }) =>
  [101, 102, 103, 104].flatMap((number) =>
    [
      { address: `${ipv4}${number}`, bits: 24, to: gateway },
      { address: `${ipv6}${number}`, bits: 64, to: `${ipv6}1` },
    ].map(({ address, bits, to }) => {
      const words = [`${address}/${bits}`, 'dev', link]
      return {
        instanceId,
        address,
        eid: `[${instanceId}]${address}`,
        add: ['ip', 'addr', 'add', ...words, ...(bits === 64 ? ['nodad'] : [])],
        remove: ['ip', 'addr', 'del', ...words],
        ping: ['ping', '-c', '1', '-W', '1', '-q', '-I', address, to],
      }
    }),
  ),
)

/**
 * A second interface of `host`, on the second segment of `cloud`; both with the MAC addresses of the
 * machine, which go where it goes.
 */
async function addInterface(lab: RunningLab, host: string, cloud: string): Promise<void> {
  const peer = ['peer', 'name', 'nic1', 'netns', `gw-${NAME}.${cloud}`]
  await lab.run(host, 'ip', 'link', 'set', 'eth0', 'address', '02:00:0a:0a:00:16')
  const own = ['address', '02:00:0a:0a:00:17']
  await lab.run(host, 'ip', 'link', 'add', 'nic1', ...own, 'type', 'veth', ...peer)
  await lab.run(host, 'ip', 'link', 'set', 'nic1', 'up')
  await lab.run(cloud, 'ip', 'link', 'set', 'nic1', 'master', 'br1', 'up')
}

/** Both clouds with a segment for instance-ID 8 as well. */
function withSecondSegment(topology: Topology): Topology {
  const changed = structuredClone(topology)
  const { nodes } = changed.topology
  const prefixes = ['10.11.0.0/24', 'fd00:11::/64'].map((prefix) => ({ prefix, instanceId: 8 }))
  for (const cloud of ['cloud-a', 'cloud-b']) {
    const node = nodes[cloud]!
    const addresses = ['10.11.0.1/24', 'fd00:11::1/64']
    node.bridges['br1'] = { mac: '02:00:5e:10:00:02', addresses, ports: [] }
    node.config = extended(node.config, {
      siteInterfaces: [{ name: 'br1', instanceId: 8 }],
      dynamicEidPrefixes: prefixes.map((one) => ({ ...one, interface: 'br1' })),
    })
  }
  const mapping = nodes['mapping']!
  const config = recordOf(mapping.config)
  const mapServer = recordOf(config['mapServer'])
  const [clouds, ...others] = arrayOf(mapServer['sites'])
  const more = prefixes.map((one) => ({ ...one, acceptMoreSpecifics: true }))
  mapServer['sites'] = [extended(clouds, { prefixes: more }), ...others]
  mapping.config = { ...config, mapServer }
  return changed
}

/** `what` with more entries at the ends of its lists. */
function extended(what: unknown, more: Record<string, readonly object[]>): Record<string, unknown> {
  const all = recordOf(what)
  for (const [key, entries] of Object.entries(more)) all[key] = [...arrayOf(all[key]), ...entries]
  return all
}

function recordOf(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw new Error(`no record: ${value}`)
  return { ...value }
}

function arrayOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error(`no list: ${value}`)
  return value
}

/** An agent whose hypervisor says what the test says. */
function anAgent(node: string, warnings: string[]): DomainWatch {
  return createDomainWatch({
    node: createNodeClient(socketOf(NAME, node)),
    state: async () => 'running',
    description: async () => '',
    configured: new Map([['vm1', VM1]]),
    mode: 'live',
    log(level, message, fields) {
      if (level === 'warn' && message !== UNDESCRIBED)
        warnings.push(`${message} ${JSON.stringify(fields)}`)
    },
  })
}

const UNDESCRIBED = 'its description names no EIDs that can be used'

async function stateOf(lab: RunningLab, node: string, eid: string): Promise<unknown> {
  const entries = listIn((await lab.api(node, '/v1/mapping-database')).body)
  return entries.find(({ eidPrefix }) => String(eidPrefix).startsWith(`${eid}/`))?.['state']
}

async function registrationOf(lab: RunningLab): Promise<Record<string, unknown> | undefined> {
  const entries = listIn((await lab.api('mapping', '/v1/registrations')).body)
  return entries.find(({ eidPrefix }) => eidPrefix === `${VM1[0]}/32`)
}

async function versionOf(lab: RunningLab): Promise<unknown> {
  return (await registrationOf(lab))?.['mapVersion']
}

const speak = (lab: RunningLab) => lab.run('vm1', 'ping', '-c', '1', '-W', '1', '-q', '10.20.0.2')

/** It speaks until the mapping system and its cloud agree. */
function untilVm1Is(lab: RunningLab, cloud: keyof typeof RLOC): Promise<void> {
  return poll(PATIENCE_MS, async () => {
    await speak(lab)
    const { locators = [] } = (await registrationOf(lab)) ?? {}
    const rlocs = (locators as { rloc?: string }[]).map(({ rloc }) => rloc)
    const state = await stateOf(lab, cloud, VM1[0]!)
    if (rlocs.includes(RLOC[cloud]) && state === 'local') return undefined
    return `registered at ${rlocs.join(' ')}, ${state} at ${cloud}`
  })
}

/** A domain XML for an EID that never says a word. */
function announce(lab: RunningLab, node: string): Promise<{ readonly status: number }> {
  const [instanceId, eid] = [7, SILENT.slice(3)]
  const text = `<domain><name>silent</name><uuid>${UUID}</uuid><metadata><g:eids
    xmlns:g='urn:godwit:domain:1' instanceId='${instanceId}'><g:eid>${eid}</g:eid></g:eids>
    </metadata></domain>`
  const socketPath = socketOf(lab.topology.name, node)
  const headers = { 'content-type': 'application/xml' }
  const options = { socketPath, path: '/v1/workloads', method: 'POST', headers }
  return new Promise((resolve, reject) => {
    const outgoing = request(options, (incoming) => {
      incoming.resume()
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0 }))
    })
    outgoing.on('error', reject)
    outgoing.end(text)
  })
}
