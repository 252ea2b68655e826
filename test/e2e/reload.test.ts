/**
 * Reloading, stopping and starting daemons while 1,000 packets a second flow in each direction.
 *
 *   host1 ── client ── core ── cloud-a ── vm1        (mapping: Map-Server, Map-Resolver)
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { listIn } from '../../src/lab/api-request.js'
import { poll } from '../../src/lab/daemons.js'
import { labPaths, namespaceOf } from '../../src/lab/names.js'
import { signalProcess } from '../../src/lab/processes.js'
import {
  configPath,
  daemonLog,
  daemonPid,
  metricsOf,
  reviveDaemon,
  stopDaemon,
  untilHealthy,
} from '../support/daemon-control.js'
import { tableDifferences } from '../support/kernel-tables.js'
import {
  type Flow,
  figuresOf,
  flowsBetween,
  pause,
  startStreams,
} from '../support/numbered-streams.js'
import { labSkip, type RunningLab, startLab } from '../support/running-lab.js'

const HOST1 = { node: 'host1', addresses: { ipv4: '10.20.0.2', ipv6: 'fd00:20::2' } }
const VM1 = { node: 'vm1', addresses: { ipv4: '10.10.0.5', ipv6: 'fd00:10::5' } }
const DAEMONS = ['client', 'cloud-a', 'cloud-b', 'mapping'] as const
const GATEWAYS = ['[7]10.10.0.1/32', '[7]fd00:10::1/128']
const RELOADS = 'godwit_configuration_reloaded_total{}'
const NEW_PREFIX = '10.21.0.0/24'

type Config = Record<string, unknown>

t.setTimeout(120_000)

t.test('a running system takes changes without losing a packet', { skip: labSkip }, async (t) => {
  const lab = await startLab(t, 'two-clouds.yaml', 'gwres-reload')
  const { ipv4 } = VM1.addresses
  await lab.run('host1', 'ping', '-c', '2', '-i', '0.2', '-q', ipv4)

  t.test('SIGHUP on every daemon', (t) =>
    flowing(t, lab, async () => {
      for (const node of DAEMONS) await reload(lab, node)
      // All at once, twice in a row.
      for (const node of DAEMONS) {
        signalProcess(daemonPid(lab, node), 'SIGHUP')
        signalProcess(daemonPid(lab, node), 'SIGHUP')
      }
      await pause(500)
      for (const node of ['client', 'cloud-a', 'cloud-b']) {
        const own = node === 'client' ? [] : GATEWAYS
        t.same(await tableDifferences(lab, node, own), [], `${node}: kernel and daemon agree`)
      }
    }),
  )

  t.test('an invalid configuration changes nothing and all its errors are logged', (t) =>
    flowing(t, lab, () => checkInvalid(t, lab)),
  )

  t.test('an RLOC that no interface has changes nothing either', (t) =>
    flowing(t, lab, () => checkUnusable(t, lab)),
  )

  t.test('an added EID-prefix works after two reloads', (t) =>
    flowing(t, lab, () => checkAdded(t, lab)),
  )

  t.test('a removed EID-prefix is gone after two reloads', (t) =>
    flowing(t, lab, () => checkRemoved(t, lab)),
  )

  t.test('interfaces that were deleted and made again forward again', (t) => checkRenewed(t, lab))

  t.test('a stop for a restart (SIGUSR2) leaves everything forwarding', async (t) => {
    await flowing(t, lab, async () => {
      await stopDaemon(lab, 'cloud-a', 'SIGUSR2')
      await pause(200)
      reviveDaemon(lab, 'cloud-a')
      await untilHealthy(lab, 'cloud-a')
    })
    t.match(daemonLog(lab, 'cloud-a'), /"node-stopped"/, 'it ended by itself')
    t.same(await tableDifferences(lab, 'cloud-a', GATEWAYS), [], 'kernel and daemon agree')
  })

  t.test('a graceful stop with onStop: keep leaves everything forwarding', async (t) => {
    await changeConfig(lab, 'cloud-a', ({ datapath, ...config }) => ({
      ...config,
      datapath: { ...(datapath as Config), onStop: 'keep' },
    }))
    // What is done at the end is decided at the start.
    await stopDaemon(lab, 'cloud-a')
    reviveDaemon(lab, 'cloud-a')
    await untilHealthy(lab, 'cloud-a')
    // Nothing is known of endpoints after a stop that detached, until they speak.
    for (const address of Object.values(HOST1.addresses)) await untilReaches(lab, 'vm1', address)
    await flowing(t, lab, async () => {
      const tookMs = await stopDaemon(lab, 'cloud-a')
      t.ok(tookMs < 2_000, `stopped in ${Math.round(tookMs)} ms`)
      await pause(500)
      reviveDaemon(lab, 'cloud-a')
      await untilHealthy(lab, 'cloud-a')
    })
    t.same(await tableDifferences(lab, 'cloud-a', GATEWAYS), [], 'kernel and daemon agree')
  })

  t.test('a graceful stop leaves nothing', async (t) => {
    for (const node of ['client', 'mapping']) {
      const tookMs = await stopDaemon(lab, node)
      t.ok(tookMs < 2_000, `${node}: no process after ${Math.round(tookMs)} ms`)
      const pins = join(labPaths(lab.topology.name).pins, node)
      t.same(existsSync(pins) ? readdirSync(pins) : [], [], `${node}: nothing pinned`)
      const links = await lab.run(node, 'ip', '-o', 'link', 'show')
      t.notMatch(links.stdout, /^\d+: gw-/m, `${node}: no device of ours`)
    }
    const log = daemonLog(lab, 'client')
    t.match(log, /"node-stopped"/, 'and says so')
  })
})

/** 1,000 packets/s in each direction and family during `action`: none may be lost or reordered. */
async function flowing(t: Test, lab: RunningLab, action: () => Promise<void>): Promise<void> {
  const streams = await startStreams(lab, flowsBetween(HOST1, VM1), { rate: 1_000 })
  let flows: readonly Flow[] = []
  try {
    await pause(100)
    await action()
  } finally {
    flows = await streams.stop()
  }
  for (const flow of flows) {
    const { sent, ...amiss } = figuresOf(flow)
    t.same(amiss, { lost: 0, duplicated: 0, reordered: 0 }, `${flow.name}: ${sent} packets`)
    t.ok(sent > 100)
  }
}

async function checkInvalid(t: Test, lab: RunningLab): Promise<void> {
  for (const node of ['client', 'mapping']) {
    const bad = (config: Config): Config => ({
      ...{ ...config, mapResolvers: ['nonsense'], colour: 'blue' },
      rlocProbe: { intervalMs: -1 },
    })
    const said = await rejectedReload(t, lab, node, bad)
    for (const place of ['mapResolvers', 'colour', 'rlocProbe'])
      t.match(said, place, `${node}: ${place} is among the errors`)
  }
}

/** Valid as a file, but the sockets cannot be had. */
async function checkUnusable(t: Test, lab: RunningLab): Promise<void> {
  const rlocs = [{ address: '172.16.3.77', interface: 'core0' }]
  const said = await rejectedReload(t, lab, 'client', (config) => ({ ...config, rlocs }))
  t.match(said, 'EADDRNOTAVAIL')
  const query = { method: 'POST' as const, body: { eid: VM1.addresses.ipv4, instanceId: 7 } }
  const { status } = await lab.api('client', '/v1/queries', query)
  t.equal(status, 200, 'the former sockets are open')
}

/** Reloads what must be refused, and puts the good file back; what the log said. */
async function rejectedReload(
  t: Test,
  lab: RunningLab,
  node: string,
  spoil: (config: Config) => Config,
): Promise<string> {
  const before = await stateOf(lab, node)
  const good = readFileSync(configPath(lab, node), 'utf8')
  writeFileSync(configPath(lab, node), JSON.stringify(spoil(JSON.parse(good) as Config)))
  const logged = daemonLog(lab, node).length
  const said = (): string => daemonLog(lab, node).slice(logged)
  signalProcess(daemonPid(lab, node), 'SIGHUP')
  await poll(5_000, async () => (said().includes('configuration-rejected') ? undefined : 'silent'))
  t.same(await stateOf(lab, node), before, `${node}: all as before`)
  writeFileSync(configPath(lab, node), good)
  await reload(lab, node)
  return said()
}

async function checkAdded(t: Test, lab: RunningLab): Promise<void> {
  const own = { prefix: NEW_PREFIX, instanceId: 7 }
  await changeConfig(lab, 'mapping', (config) => withSitePrefixes(config, (all) => [...all, own]))
  await reload(lab, 'mapping')
  await changeConfig(lab, 'client', ({ eidPrefixes, ...config }) => ({
    ...config,
    eidPrefixes: [...(eidPrefixes as Config[]), { ...own, interface: 'site0' }],
  }))
  await lab.run('client', 'ip', 'address', 'add', '10.21.0.1/24', 'dev', 'site0')
  await lab.run('host1', 'ip', 'address', 'add', '10.21.0.2/24', 'dev', 'eth0')
  await reload(lab, 'client')
  await poll(5_000, async () => ((await isRegistered(lab)) ? undefined : 'not registered'))
  const ping = await lab.run('vm1', 'ping', '-c', '3', '-i', '0.2', '-W', '2', '10.21.0.2')
  t.match(ping.stdout, / 0% packet loss/, 'reached from the first packet on')
}

async function checkRemoved(t: Test, lab: RunningLab): Promise<void> {
  await changeConfig(lab, 'client', ({ eidPrefixes, ...config }) => ({
    ...config,
    eidPrefixes: (eidPrefixes as Config[]).filter(({ prefix }) => prefix !== NEW_PREFIX),
  }))
  await reload(lab, 'client')
  const database = JSON.stringify((await lab.api('client', '/v1/mapping-database')).body)
  t.notMatch(database, NEW_PREFIX, 'the client does not have it')
  await poll(5_000, async () => ((await isRegistered(lab)) ? 'still registered' : undefined))
  t.same(await tableDifferences(lab, 'client', []), [], 'kernel and daemon agree')
  await changeConfig(lab, 'mapping', (config) =>
    withSitePrefixes(config, (all) => all.filter(({ prefix }) => prefix !== NEW_PREFIX)),
  )
  await reload(lab, 'mapping')
  const sites = JSON.stringify((await lab.api('mapping', '/v1/sites')).body)
  t.notMatch(sites, NEW_PREFIX, 'nor has the Map-Server')
}

/** As when interfaces are configured anew: the link of the customer's host, and the cloud's bridge. */
async function checkRenewed(t: Test, lab: RunningLab): Promise<void> {
  const ip = async (node: string, commands: string): Promise<void> => {
    for (const command of commands.trim().split(/ *\n */)) {
      const { code, stderr } = await lab.run(node, 'ip', ...command.split(' '))
      if (code !== 0) throw new Error(`${node}: ip ${command}: ${stderr}`)
    }
  }
  await ip('client', 'link delete site0')
  await poll(5_000, async () => ((await problemsOf(lab)).length > 0 ? undefined : 'not noticed'))
  t.same(await problemsOf(lab), ['there is no interface site0'])
  const why = await lab.api('client', `/v1/why?eid=${VM1.addresses.ipv4}&instanceId=7`)
  t.match((why.body as { remarks: string[] }).remarks[0], 'there is no interface site0')
  await ip(
    'client',
    `link add site0 type veth peer name eth0 netns ${namespaceOf(lab.topology.name, 'host1')}
     address add 10.20.0.1/24 dev site0
     address add fd00:20::1/64 dev site0 nodad
     link set site0 up`,
  )
  await ip(
    'host1',
    `address add 10.20.0.2/24 dev eth0
     address add fd00:20::2/64 dev eth0 nodad
     link set eth0 up
     route add default via 10.20.0.1
     route add default via fd00:20::1`,
  )
  await ip(
    'cloud-a',
    `link delete br0
     link add br0 address 02:00:5e:10:00:01 type bridge
     address add 10.10.0.1/24 dev br0
     address add fd00:10::1/64 dev br0 nodad
     link set vm2 master br0
     link set panel master br0
     link set br0 up`,
  )
  for (const address of Object.values(VM1.addresses)) await untilReaches(lab, 'host1', address)
  await poll(5_000, async () => (await problemsOf(lab))[0])
  t.match(daemonLog(lab, 'client'), /"interface-mended".*"site0"/)
  t.notMatch(daemonLog(lab, 'mapping'), /"interface-problem"/, 'who forwards nothing needs none')
}

async function problemsOf(lab: RunningLab): Promise<readonly string[]> {
  const { body } = await lab.api('client', '/v1/node')
  return (body as { problems: readonly string[] }).problems
}

async function isRegistered(lab: RunningLab): Promise<boolean> {
  const { body } = await lab.api('mapping', '/v1/registrations')
  return listIn(body).some(({ eidPrefix }) => eidPrefix === `[7]${NEW_PREFIX}`)
}

function withSitePrefixes(config: Config, change: (prefixes: Config[]) => Config[]): Config {
  const mapServer = config['mapServer'] as { sites: Config[] }
  const sites = mapServer.sites.map((site) =>
    site['name'] === 'client' ? { ...site, prefixes: change(site['prefixes'] as Config[]) } : site,
  )
  return { ...config, mapServer: { ...mapServer, sites } }
}

async function changeConfig(
  lab: RunningLab,
  node: string,
  change: (config: Config) => Config,
): Promise<void> {
  const file = configPath(lab, node)
  const config = JSON.parse(readFileSync(file, 'utf8')) as Config
  writeFileSync(file, JSON.stringify(change(config), null, 2))
}

/** SIGHUP, and the wait until the new configuration is in force. */
async function reload(lab: RunningLab, node: string): Promise<void> {
  const before = (await metricsOf(lab, node)).get(RELOADS) ?? 0
  signalProcess(daemonPid(lab, node), 'SIGHUP')
  await poll(5_000, async () => {
    const now = (await metricsOf(lab, node)).get(RELOADS) ?? 0
    return now > before ? undefined : `${node} does not reload`
  })
}

/** What must not change: everything but times. */
async function stateOf(lab: RunningLab, node: string): Promise<unknown> {
  const tables = ['map-cache', 'mapping-database', 'registrations', 'sites']
  return Promise.all(
    tables.map(async (table) =>
      listIn((await lab.api(node, `/v1/${table}`)).body).map(
        ({ eidPrefix, name, state, action, locators, mapVersion, prefixes }) => ({
          ...{ eidPrefix, name, state, action, locators, mapVersion, prefixes },
        }),
      ),
    ),
  )
}

async function untilReaches(lab: RunningLab, node: string, address: string): Promise<void> {
  await poll(10_000, async () => {
    const { code } = await lab.run(node, 'ping', '-c', '1', '-W', '1', '-q', address)
    return code === 0 ? undefined : `${node} does not reach ${address}`
  })
}
