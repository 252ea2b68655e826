/**
 * A real PIM router in a site (FRR's pimd), and joins between two xTRs, with real packets:
 * topologies/pim.yaml. A host behind the router joins and leaves what a host of the other site sends.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Listener, startListener } from '../../src/demo/multicast/listener.js'
import { missingRouter, startPimRouter } from '../../src/lab/frr.js'
import { labSkip, type RunningLab, startLab } from '../support/running-lab.js'

t.setTimeout(120_000)

const ROUTER_CONFIG = [
  'ip pim rp 10.32.0.99 239.0.0.0/8',
  'ip pim spt-switchover infinity-and-beyond',
  'interface up0',
  ' ip pim',
  ' ip pim hello 1',
  'interface lan0',
  ' ip pim',
  ' ip igmp',
]
const SOURCE = '10.32.0.2'
const LIMIT_MS = 30_000
const TRACER = '/usr/bin/mtracebis'

interface Group {
  readonly group: string
  readonly interfaces: readonly string[]
  readonly copies: readonly string[]
}

/** Asks until the answer is as wanted; the last answer otherwise. */
async function until<T>(ask: () => Promise<T>, isWanted: (answer: T) => boolean): Promise<T> {
  const end = performance.now() + LIMIT_MS
  for (;;) {
    const answer = await ask()
    if (isWanted(answer) || performance.now() > end) return answer
    await pause(50)
  }
}

async function groupsOf(lab: RunningLab, node: string): Promise<readonly Group[]> {
  return ((await lab.api(node, '/v1/multicast/groups')).body as { groups: Group[] }).groups
}

/** The group of this name at a node, when it is as wanted. */
async function groupAt(
  lab: RunningLab,
  node: string,
  name: string,
  isWanted: (group: Group | undefined) => boolean,
): Promise<Group | undefined> {
  const find = async () => (await groupsOf(lab, node)).find(({ group }) => group === name)
  return until(find, isWanted)
}

async function checkJoin(
  t: Test,
  lab: RunningLab,
  host: Listener,
  { group, source }: { readonly group: string; readonly source: string | undefined },
): Promise<void> {
  const name = `[7](${source ?? '*'},${group})`
  await host.join(group, source)
  const left = await groupAt(lab, 'left', name, (one) => one?.interfaces.length === 1)
  t.same(left?.interfaces, ['site0'], 'the join of the router reaches us')
  const right = await groupAt(lab, 'right', name, (one) => one?.copies.length === 1)
  t.same(right?.copies, ['172.18.1.1'], 'and our join the xTR of the source')

  const sent = join(lab.directory, 'sent.records')
  const stream = ['--stream', `1,${group},5000`, '--rate', '200', '--records', sent]
  const sender = lab.probe('camera', 'stream', 'send', ...stream)
  const heard = () => Promise.resolve(lab.records(host.recordFile).length)
  const before = await heard()
  t.ok((await until(heard, (count) => count >= before + 100)) >= before + 100, 'packets arrive')
  await sender.stop()
  if (source !== undefined && existsSync(TRACER)) await checkTrace(t, lab, source, group)

  await host.leave(group, source)
  t.same((await groupAt(lab, 'left', name, (one) => !one?.interfaces.length))?.interfaces ?? [], [])
  t.same((await groupAt(lab, 'right', name, (one) => !one?.copies.length))?.copies ?? [], [])
}

/** Three hops of 32 bytes behind 20 of IP and 24 of the trace: the router and both xTRs. */
async function checkTrace(t: Test, lab: RunningLab, source: string, group: string): Promise<void> {
  const filter = ['-n', '-v', '-c', '1', '-i', 'eth0', 'igmp[0] = 0x1e']
  const capture = lab.start('lounge', 'timeout', '20', 'tcpdump', ...filter)
  await capture.says('listening')
  // It asks for names of the hops, which nobody here knows, before it prints them.
  const tracer = lab.start('lounge', TRACER, source, group)
  t.match((await capture.finished).stdout, /length 140\)\s+10\.32\.0\.1 > 10\.50\.0\.2: mresp/)
  await tracer.stop()
}

const skip = labSkip || (missingRouter() ?? false)

t.test('a PIM router in a site, and joins between xTRs', { skip }, async (t) => {
  const lab = await startLab(t, 'pim.yaml', 'e2e-pim')
  const router = await startPimRouter(lab.topology, 'router', ROUTER_CONFIG)
  const host = await startListener(
    lab.topology.name,
    'lounge',
    join(lab.directory, 'heard.records'),
  )

  t.test('each is the neighbour of the other', async (t) => {
    const neighbours = await until(
      () => router.show('show ip pim neighbor json'),
      (text) => text.includes('10.60.0.1'),
    )
    t.match(JSON.parse(neighbours), { up0: { '10.60.0.1': {} } })
    const ours = () => lab.api('left', '/v1/multicast/routers').then(({ body }) => body)
    const links = await until(ours, (body) => JSON.stringify(body).includes('10.60.0.2'))
    t.match(links, { links: [{ interfaceName: 'site0', neighbours: ['10.60.0.2'] }] })
  })

  t.test('a host behind it joins a source of the other site, hears it, and leaves', (t) =>
    checkJoin(t, lab, host, { group: '232.1.1.1', source: SOURCE }),
  )

  t.test('and a group whose rendezvous point is in the other site', (t) =>
    checkJoin(t, lab, host, { group: '239.1.1.1', source: undefined }),
  )
})
