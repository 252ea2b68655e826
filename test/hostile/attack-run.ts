/**
 * A live attack on a node of a lab, and what it cost: damaged packets from 250 addresses while a clean
 * client is served, then good questions at the same rate, for comparison.
 *
 * Nothing is judged here but what makes the figures meaningless; limits are the caller's.
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../src/config/load.js'
import type { NodeConfig } from '../../src/config/node-config.js'
import type { AdjustConfig } from '../../src/lab/daemons.js'
import { namespaceFile, namespaceOf } from '../../src/lab/names.js'
import { runProgram } from '../../src/lab/network.js'
import { configPath, daemonPid, metricsOf, risen } from '../support/daemon-control.js'
import { type RunningLab, startLab } from '../support/running-lab.js'
import type { CleanFigures, CleanPlan } from './clean-child.js'
import type { Flood } from './flood-child.js'

export interface AttackPlan {
  readonly packets: number
  readonly perSecond: number
  readonly goodPackets: number
  readonly seed: number
}

export interface AttackFigures {
  readonly kind: 'map-server' | 'xtr'
  readonly sent: number
  /** Read by the daemon, and dropped by its socket because it was behind. */
  readonly received: number
  readonly dropped: number
  readonly seconds: number
  /** How long the daemon's main thread was ready to run and another had the processor. */
  readonly waitedSeconds: number
  readonly clean: CleanFigures
  /** The same client before the attack: what the machine itself costs. */
  readonly quiet: CleanFigures
  /** Processor time of the daemon for one packet, in microseconds; of its basic load nothing. */
  readonly badMicroseconds: number
  readonly goodMicroseconds: number
  readonly goodAnswered: number
  readonly goodSent: number
  /** Resident memory in MB: before, after the first tenth, at the end. */
  readonly megabytes: readonly [number, number, number]
  readonly sizes: Readonly<Record<string, number>>
  /** The most frequent of what was counted. */
  readonly counted: readonly (readonly [string, number])[]
  readonly samePid: boolean
}

/** Registrations that the Map-Server of the lab may have. */
export const MAXIMUM_REGISTRATIONS = 1000
const TARGETS = {
  'map-server': { node: 'mapping', address: '172.16.4.1' },
  xtr: { node: 'client', address: '172.16.3.1' },
} as const
const GATEWAY = '172.16.66.254'
const CLEAN = '172.16.66.67'
const SOURCES = Array.from({ length: 250 }, (_, at) => `172.16.67.${at + 1}`)
/** Real RLOCs of others that the attacker takes as its own. */
const FORGED = ['172.16.1.1', '172.16.2.1']
const CLEAN_PREFIXES = Array.from({ length: 200 }, (_, at) => `[7]10.66.0.${at + 1}/32`)
const SITE_PREFIX = '[7]10.20.0.0/24'
/** What the clean flow of the lab lives on; the attack is about these too. */
const KNOWN_PREFIXES = ['[7]10.10.0.5/32', '[7]10.10.0.6/32', SITE_PREFIX]

/** Two clouds, and two more sites at the Map-Server: `clean` and `insider`. */
export async function startBattlefield(
  t: Parameters<typeof startLab>[0],
  name: string,
): Promise<RunningLab> {
  const lab = await startLab(t, 'two-clouds.yaml', name, { adjust })
  const [inside, outside] = [namespaceOf(name, 'attacker'), namespaceOf(name, 'core')]
  await runProgram('ip', ['netns', 'add', inside])
  const forged = FORGED.map((address) => `-n ${inside} address add ${address}/32 dev lo`)
  for (const line of [
    `link add attacker netns ${outside} type veth peer name eth0 netns ${inside}`,
    `-n ${outside} address add ${GATEWAY}/24 dev attacker`,
    `-n ${outside} link set dev attacker up`,
    `-n ${outside} route add 172.16.67.0/24 via 172.16.66.66`,
    `-n ${inside} link set dev lo up`,
    `-n ${inside} address add 172.16.66.66/24 dev eth0`,
    `-n ${inside} address add ${CLEAN}/24 dev eth0`,
    `-n ${inside} link set dev eth0 up`,
    `-n ${inside} route add local 172.16.67.0/24 dev lo`,
    `-n ${inside} route add default via ${GATEWAY}`,
    ...forged,
  ])
    await runProgram('ip', line.split(' '))
  for (const one of ['all', 'attacker'])
    await lab.run('core', 'sysctl', '-qw', `net.ipv4.conf.${one}.rp_filter=0`)
  return lab
}

const adjust: AdjustConfig = (node, config) => {
  if (node !== 'mapping') return config
  const mapServer = config['mapServer'] as { sites: object[] }
  const site = (id: number, siteName: string, prefix: string) => ({
    name: siteName,
    keys: [{ id, secretFile: `${siteName}.key` }],
    prefixes: [{ prefix, instanceId: 7, acceptMoreSpecifics: true }],
  })
  const sites = [
    ...mapServer.sites,
    site(9, 'clean', '10.66.0.0/16'),
    site(10, 'insider', '10.67.0.0/16'),
  ]
  return {
    ...config,
    mapServer: { ...mapServer, sites, maximumRegistrations: MAXIMUM_REGISTRATIONS },
  } as typeof config
}

/** Attacks one node of a battlefield. */
export async function attack(
  lab: RunningLab,
  kind: AttackFigures['kind'],
  plan: AttackPlan,
): Promise<AttackFigures> {
  const { node, address: to } = TARGETS[kind]
  const keys = keysOf(lab)
  const prefixes = kind === 'map-server' ? CLEAN_PREFIXES : [SITE_PREFIX]
  const pid = daemonPid(lab, node)
  // The daemon as on a machine of its own: what else runs here is not to be in its way.
  preferGroup(pid)
  const attacker = startChild(lab, 'flood-child.js')
  const cleanPlan: CleanPlan = {
    ...{ kind, from: CLEAN, to, prefixes, key: keys.clean, perSecond: 25 },
    rloc: kind === 'map-server' ? CLEAN : to,
  }
  const clean = startChild(lab, 'clean-child.js')
  preferGroup(clean.pid)
  clean.say(cleanPlan)
  await clean.hears()
  const flood = (count: number, seed: number | undefined, first: number): Promise<string> => {
    const insider = { insider: keys.insider, insiderPrefix: '[7]10.67.0' }
    const forged = seed === undefined ? [] : FORGED
    const sources = [...SOURCES, ...forged]
    const asked = seed === undefined ? prefixes : [...KNOWN_PREFIXES, ...prefixes]
    const { perSecond } = plan
    const about = { kind, to, count, perSecond, seed, first, sources }
    const one: Flood = { ...about, prefixes: asked, ...insider }
    attacker.say(one)
    return attacker.hears()
  }
  // The basic load: the clean client alone.
  const base = await costOf(pid, async () => pause(BASE_MS))
  clean.say({ report: 'base' })
  const quiet = JSON.parse(await clean.hears()) as CleanFigures
  const basePerSecond = base.cpuSeconds / base.seconds
  const net = ({ cpuSeconds, seconds, received }: Cost): number =>
    (1e6 * Math.max(0, cpuSeconds - basePerSecond * seconds)) / Math.max(1, received)

  const before = await metricsOf(lab, node)
  const [empty, tenth] = [residentMegabytes(pid), Math.floor(plan.packets / 10)]
  let warm = empty
  const bad = await costOf(pid, async () => {
    await flood(tenth, plan.seed, 0)
    warm = residentMegabytes(pid)
    await flood(plan.packets - tenth, plan.seed, tenth)
    await settled(pid)
  })
  const full = residentMegabytes(pid)
  const after = await metricsOf(lab, node)
  clean.say({ report: 'attack' })
  const figures = JSON.parse(await clean.hears()) as CleanFigures
  const good = await costOf(pid, async () => {
    await flood(plan.goodPackets, undefined, 0)
    await settled(pid)
  })
  clean.end()
  const answers = risen(after, await metricsOf(lab, node))
  attacker.end()
  const counted = Object.entries(risen(before, after)).filter(([name]) => name.includes('_total'))
  const sizes = [...after].filter(([name]) => name.endsWith('_entries'))
  return {
    ...{ kind, sent: plan.packets, received: bad.received, dropped: bad.dropped },
    ...{ seconds: bad.seconds, waitedSeconds: bad.waitedSeconds, clean: figures, quiet },
    ...{ badMicroseconds: net(bad), goodMicroseconds: net(good) },
    goodSent: plan.goodPackets,
    goodAnswered: sumOf(answers, 'godwit_map_reply_sent_total'),
    megabytes: [empty, warm, full],
    sizes: Object.fromEntries(sizes),
    counted: counted.sort((a, b) => b[1] - a[1]).slice(0, 30),
    samePid: daemonPid(lab, node) === pid,
  }
}

interface Cost {
  readonly cpuSeconds: number
  readonly waitedSeconds: number
  readonly seconds: number
  readonly received: number
  readonly dropped: number
}

async function costOf(pid: number, action: () => Promise<void>): Promise<Cost> {
  const began = { at: performance.now(), cpu: cpuSeconds(pid), udp: udpOf(pid) }
  const waited = waitedSeconds(pid)
  await action()
  const udp = udpOf(pid)
  return {
    cpuSeconds: cpuSeconds(pid) - began.cpu,
    waitedSeconds: waitedSeconds(pid) - waited,
    seconds: (performance.now() - began.at) / 1000,
    received: udp.received - began.udp.received,
    dropped: udp.dropped - began.udp.dropped,
  }
}

/** Waits until the daemon has read all that its sockets hold. */
async function settled(pid: number): Promise<void> {
  const until = performance.now() + 20_000
  for (let quiet = 0; quiet < 3 && performance.now() < until; ) {
    const rows = readFileSync(`/proc/${pid}/net/udp`, 'utf8').split('\n').slice(1)
    const waiting = rows.some((row) => /:10F6 /.test(row) && !/ 00000000:00000000 /.test(row))
    quiet = waiting ? 0 : quiet + 1
    await pause(20)
  }
}

/**
 * The scheduler shares the processors among sessions before processes: a nice value of the process
 * would count for nothing against others.
 */
function preferGroup(pid: number): void {
  const file = `/proc/${pid}/autogroup`
  if (existsSync(file)) writeFileSync(file, '-15')
}

/** Of the main thread: the second field of its scheduler statistics, in nanoseconds. */
function waitedSeconds(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e9
}

/** All threads, user and system. */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function residentMegabytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024)
}

/** Of the whole namespace, in which nobody else listens. */
function udpOf(pid: number): { received: number; dropped: number } {
  const rows = readFileSync(`/proc/${pid}/net/snmp`, 'utf8')
    .split('\n')
    .filter((row) => row.startsWith('Udp:'))
    .map((row) => row.split(' '))
  const field = (name: string): number => Number(rows[1]![rows[0]!.indexOf(name)])
  return { received: field('InDatagrams'), dropped: field('RcvbufErrors') }
}

function keysOf(lab: RunningLab) {
  const loaded = loadConfig(configPath(lab, 'mapping'))
  if (!loaded.ok) throw new Error('the configuration of the Map-Server is not valid')
  const { sites }: NodeConfig['mapServer'] = loaded.nodeConfig.mapServer
  const keyOf = (name: string) => {
    const { keyId, secret } = sites.find((site) => site.name === name)!.keys[0]!
    return { keyId, secret: Buffer.from(secret).toString('hex') }
  }
  return { clean: keyOf('clean'), insider: keyOf('insider') }
}

function startChild(lab: RunningLab, script: string) {
  const netns = `--net=${namespaceFile(lab.topology.name, 'attacker')}`
  const file = fileURLToPath(new URL(`./${script}`, import.meta.url))
  const child = spawn('nsenter', [netns, process.execPath, file], {
    // A session of its own, which is what the scheduler shares the processors among.
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    say: (what: object) => child.stdin.write(`${JSON.stringify(what)}\n`),
    async hears(): Promise<string> {
      const line = await lines.next()
      if (line.done === true) throw new Error(`${script} has ended`)
      return line.value
    },
    end: () => child.stdin.end(),
    pid: child.pid!,
  }
}

function sumOf(rise: Readonly<Record<string, number>>, name: string): number {
  return Object.entries(rise)
    .filter(([one]) => one.startsWith(name))
    .reduce((sum, [, value]) => sum + value, 0)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const BASE_MS = 1500
