/**
 * `node dist/bench/multicast-sim.js [sites …]`: what a multicast join costs among 10 to 500 receiver
 * sites in virtual time, written to bench/multicast-sim.md and .json. Exit 0 iff nobody lost or
 * doubled a packet.
 */
import { writeFileSync } from 'node:fs'
import { packageFile } from '../src/lab/names.js'
import { type MulticastResult, runMulticast } from '../src/sim/multicast-run.js'
import type { KeptMulticast } from './elsewhere.js'
import { describeMachine } from './machine.js'
import { renewResultsPage } from './results-page.js'

const SITES = [10, 50, 100, 200, 500]
const OPTIONS = { seed: '1', joinsPerSecond: 10, loss: 0.01, churnMs: 30_000 }

const HEADER = `# Multicast in virtual time

Written by \`node dist/bench/multicast-sim.js\`. Two sources send ten packets a second each to one SSM
and one ASM group; half of the receiver sites listen to both, then ten sites a second join a group and
ten leave one, for 30 s, while the core loses 1 % of the control messages and none of the data. Control
messages take 5 to 40 ms. Beyond 64 receivers relays copy (fan-out 64). *Expected* are packets of those
who have listened for ten seconds; *lost* and *doubled* are those that did not come once, *doubled*
also of all others; *foreign* came of a source that nobody had asked for.

Messages and bytes are those about groups during the churn, per join: each join comes with a leave, and
both say their change three times, which makes six Map-Registers; a site that changes twice within a
second says both together, and refreshes are counted too.
Each change is told to two sources, and to a relay where there are any. *State* is what the Map-Server
holds at the end: receiver sites in groups.

| sites | relays | joins | expected | lost | doubled | foreign | registers | notifies | acks | bytes | state | longest list | join to first packet, ms: p50 / p99 / max |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
`

const asked = process.argv.slice(2).map(Number)
const results = (asked.length > 0 ? asked : SITES).map((sites) =>
  runMulticast({ ...OPTIONS, sites }),
)
writeFileSync(packageFile('bench', 'multicast-sim.md'), document(results))
const date = new Date().toISOString().slice(0, 10)
const kept: KeptMulticast = { ...describeMachine(), date, rows: results }
const file = packageFile('bench', 'multicast-sim.json')
writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`)
renewResultsPage(file)
process.stdout.write(document(results))
process.exitCode = results.every((one) => one.ok) ? 0 : 1

function document(all: readonly MulticastResult[]): string {
  const rows = all.map((one) => {
    const { messagesPerJoin: messages, joinToFirstPacketMs: wait, mapServer } = one
    const cells = [
      one.sites,
      one.relays,
      one.joins,
      one.expected,
      one.lost,
      one.duplicated,
      one.wrongSource,
      messages['map-register'] ?? 0,
      messages['map-notify'] ?? 0,
      messages['map-notify-ack'] ?? 0,
      one.bytesPerJoin,
      mapServer.members,
      one.longestList,
      `${wait.p50} / ${wait.p99} / ${wait.max}`,
    ]
    return `| ${cells.join(' | ')} |`
  })
  return `${HEADER}${rows.join('\n')}\n`
}
