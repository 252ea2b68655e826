/**
 * Reloads and deaths of daemons while packets to groups flow, 1,000 a second of each stream: nobody who
 * listens loses one, because the datapath goes on with the lists and segments that it has and a new run
 * believes them until it knows better.
 *
 * Topology: topologies/multicast.yaml with its tree of two relays. Who dies stays dead for a moment.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  computeGroupFigures,
  type GroupMoveWindow,
  type Membership,
} from '../../src/demo/multicast/figures.js'
import { type Listener, STREAM_PORT, startListener } from '../../src/demo/multicast/listener.js'
import { LISTENINGS, STREAMS } from '../../src/demo/multicast/script.js'
import { copiesOf } from '../../src/demo/multicast/tree.js'
import { startProbe } from '../../src/demo/probe-process.js'
import { decodeRecords, type PacketRecord } from '../../src/demo/records.js'
import { poll } from '../../src/lab/daemons.js'
import { signalProcess } from '../../src/lab/processes.js'
import {
  daemonLog,
  daemonPid,
  killDaemon,
  metricsOf,
  reviveDaemon,
  untilHealthy,
} from '../support/daemon-control.js'
import { monotonicNs, pause } from '../support/numbered-streams.js'
import { labSkip, type RunningLab, startLab } from '../support/running-lab.js'

const DAEMONS = ['origin', 'east', 'west', 'north', 'relay1', 'relay2', 'mapping'] as const
/** The sites of a source and of receivers, a relay, and who keeps the lists. */
const VICTIMS = ['west', 'origin', 'relay1', 'mapping'] as const
const RELOADS = 'godwit_configuration_reloaded_total{}'
const GROUP = '[7](10.40.0.5,239.1.1.1)'
const RECEIVERS = ['east-host', 'west-host', 'north-host']
const RATE = '1000'
const DEAD_MS = 300
/** Hosts answer the query that a new run begins with within a second (RFC 3376 §7.1). */
const ASKED_MS = 1_200

t.setTimeout(120_000)

t.test('groups flow on while daemons reload, die and come back', { skip: labSkip }, async (t) => {
  const lab = await startLab(t, 'multicast.yaml', 'gwres-groups')
  const { name } = lab.topology
  const file = (node: string): string => join(lab.directory, `${node}.records`)
  const listeners = new Map<string, Listener>()
  for (const node of RECEIVERS) listeners.set(node, await startListener(name, node, file(node)))
  const streams = STREAMS.filter(({ id }) => id <= 4).flatMap(({ id, address }) => [
    ...['--stream', `${id},${address},${STREAM_PORT}`],
  ])
  const pace = ['--rate', RATE, '--records', file('camera')]
  const sender = startProbe(name, 'camera', 'camera-sender', [
    'stream',
    'send',
    ...streams,
    ...pace,
  ])
  const members: Membership[] = []
  for (const { receiver, stream, group, source } of LISTENINGS) {
    if (!RECEIVERS.includes(receiver) || stream === undefined) continue
    const joinedNs = await listeners.get(receiver)!.join(group, source)
    members.push({ receiver, stream, stays: [{ joinedNs, leftNs: undefined }] })
  }
  await poll(10_000, async () => {
    const rlocs = await copiesOf(lab.topology, GROUP)
    return rlocs.length > 0 ? undefined : 'nobody copies'
  })
  await pause(500)

  const windows: GroupMoveWindow[] = []
  const during = async (what: string, action: () => Promise<unknown>): Promise<void> => {
    const fromNs = windows.at(-1)?.untilNs ?? monotonicNs()
    await action()
    await pause(ASKED_MS)
    windows.push({ what, fromNs, untilNs: monotonicNs() })
  }
  await during('SIGHUP to all', async () => {
    const before = await Promise.all(DAEMONS.map((node) => reloadsOf(lab, node)))
    for (const node of DAEMONS) signalProcess(daemonPid(lab, node), 'SIGHUP')
    for (const [index, node] of DAEMONS.entries())
      await poll(10_000, async () => {
        return (await reloadsOf(lab, node)) > before[index]! ? undefined : `${node}: not reloaded`
      })
  })
  for (const node of VICTIMS) await during(`kill -9 ${node}`, () => killAndRevive(lab, node))

  await sender.end()
  await pause(300)
  for (const listener of listeners.values()) t.equal(await listener.stop(), 0, 'all was counted')
  const records = (node: string): readonly PacketRecord[] =>
    decodeRecords(readFileSync(file(node))).records
  const received = new Map(RECEIVERS.map((node) => [node, records(node)]))
  const sent = records('camera')
  const { receivers, moves } = computeGroupFigures(STREAMS, members, sent, received, windows)
  // A relay that is away for too long is replaced while its kernel copies on: then some come twice.
  const isReplaced = daemonLog(lab, 'mapping').includes('relay-silent')
  for (const { what, lost, duplicated } of moves) {
    t.equal(lost, 0, `${what}: lost`)
    if (!isReplaced) t.equal(duplicated, 0, `${what}: doubled`)
  }
  for (const { receiver, group, received, lost } of receivers) {
    t.equal(lost, 0, `${receiver} ${group}: of ${received}`)
    t.ok(received > 2_000, `${receiver} ${group}: ${received}`)
  }
  t.equal(receivers.length, 7)
})

async function killAndRevive(lab: RunningLab, node: string): Promise<void> {
  await killDaemon(lab, node)
  await pause(DEAD_MS)
  reviveDaemon(lab, node)
  await untilHealthy(lab, node)
}

async function reloadsOf(lab: RunningLab, node: string): Promise<number> {
  return (await metricsOf(lab, node)).get(RELOADS) ?? 0
}
