/**
 * What an operator does at night: ask why, of all nodes of a running system; and what one does in the
 * morning: run again what the daemons recorded.
 *
 *   host1 ── client ── core ── cloud-a ── vm1        (mapping: Map-Server, Map-Resolver)
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { WhyAnswer } from '../../src/api/why-views.js'
import type { Comparison } from '../../src/cli/why-comparison.js'
import { packageFile, socketOf } from '../../src/lab/names.js'
import { daemonLog } from '../support/daemon-control.js'
import { type Finished, labSkip, startLab, startProgram } from '../support/running-lab.js'

const LAB = 'gwsc-why'
const VM1 = '10.10.0.5'
const MAXIMUM_QUERIES = 4000

t.setTimeout(120_000)

t.test('why and replay', { skip: labSkip }, async (t) => {
  const journals = mkdtempSync(join(tmpdir(), 'godwit-journals-'))
  t.teardown(() => rmSync(journals, { recursive: true, force: true }))
  const lab = await startLab(t, 'two-clouds.yaml', LAB, {
    adjust: (node, config) => ({
      ...config,
      record: { directory: join(journals, node), maximumBytes: 1 << 20 },
    }),
  })
  await lab.run('host1', 'ping', '-c', '3', '-i', '0.2', '-q', VM1)

  t.test('why follows a packet through all nodes, and they agree', async (t) => {
    const words = [`[7]${VM1}`, '--from', '[7]10.20.0.2', '--socket', socketOf(LAB, 'client')]
    const { code, stdout, stderr } = await godwit('why', ...words, '--lab', LAB, '--json')
    t.equal(code, 0, stderr)
    const { answers, comparison } = JSON.parse(stdout) as {
      answers: WhyAnswer[]
      comparison: Comparison
    }
    const byNode = new Map(answers.map((one) => [one.node, one]))
    const client = byNode.get('client')!
    t.equal(client.verdict.code, 'encapsulated')
    t.match(client.remarks, [/10\.20\.0\.2 is here/])
    t.match(client.datapath?.entries, [{ table: 'map-cache', match: 'host', form: 'forward' }])
    const [rloc] = client.datapath!.entries[0]!.rlocs
    t.ok(client.mapCache?.locators.some((one) => one.rloc === rloc))
    t.ok((client.mapCache?.counters?.packets ?? 0) >= 1)
    const home = byNode.get('cloud-a')!
    t.equal(home.verdict.code, 'delivered-here')
    t.match(home.datapath?.entries[0], { table: 'local-eid', match: 'host', form: 'local' })
    t.equal(byNode.get('mapping')!.verdict.code, 'registered')
    t.ok(byNode.get('mapping')!.events.some(({ name }) => name === 'registration-added'))
    t.same(comparison.findings, [])
    t.match(comparison.path, [/^client: .*packets are sent to/, /^cloud-a: is here/])
    const text = await godwit('why', ...words, '--lab', LAB)
    t.match(text.stdout, 'all that were asked agree')
    t.match(text.stdout, 'the way of a packet')
  })

  t.test('a full journal renews its node, and nobody notices', async (t) => {
    const pings = lab.run('host1', 'ping', '-c', '40', '-i', '0.05', '-q', VM1)
    let asked = 0
    const ask = async (count: number): Promise<void> => {
      const batch = Array.from({ length: count }, (_, index) => {
        const number = asked + index
        const body = { eid: `10.10.${number >> 8}.${number & 0xff}`, instanceId: 7 }
        return lab.api('client', '/v1/queries', { method: 'POST', body })
      })
      await Promise.all(batch)
      asked += count
    }
    while (filesOf(journals, 'client').length < 2 && asked < MAXIMUM_QUERIES) await ask(40)
    // So that the second has something to replay.
    await ask(10)
    t.ok(filesOf(journals, 'client').length >= 2, `a second journal after ${asked} questions`)
    t.match((await pings).stdout, ' 0% packet loss')
    t.notMatch(daemonLog(lab, 'client'), 'recording-ended')
  })

  t.test('every journal replays with the same decisions, and holds no secret', async (t) => {
    for (const node of ['client', 'cloud-a', 'cloud-b', 'mapping'])
      for (const file of filesOf(journals, node)) {
        const { code, stdout, stderr } = await godwit('replay', file, '--json', '--quiet')
        t.equal(code, 0, `${file}: ${stdout}${stderr}`)
        const verdict = JSON.parse(stdout) as { same: boolean; steps: number; node: string }
        t.match(verdict, { same: true, node })
        t.ok(verdict.steps > 3, `${file}: ${verdict.steps} steps`)
      }
    const [first = ''] = filesOf(journals, 'client')
    const text = await godwit('replay', first)
    t.match(text.stdout, /→ event node-started/)
    t.match(text.stdout, /the same decisions/)
  })
})

function filesOf(journals: string, node: string): string[] {
  const directory = join(journals, node)
  return readdirSync(directory)
    .filter((name) => readFileSync(join(directory, name)).length > 0)
    .map((name) => join(directory, name))
}

function godwit(...words: string[]): Promise<Finished> {
  const main = packageFile('dist/src/cli/main.js')
  return startProgram(process.execPath, [main, ...words]).finished
}
