/** `godwit why`: where would a packet to this EID go, and why? One node, or all that can be asked. */
import type { WhyAnswer } from '../../api/why-views.js'
import { type ApiClient, createApiClient } from '../api-client.js'
import { type Colour, coloured, fieldText, formatDuration, formatLocators } from '../columns.js'
import {
  type CliCommand,
  type CommandContext,
  numberOption,
  queryString,
  textOption,
} from '../command.js'
import { CliFailure } from '../failure.js'
import { socketsOfLab } from '../target.js'
import { type Comparison, compareAnswers } from '../why-comparison.js'

export const whyCommands: readonly CliCommand[] = [
  {
    usage: 'why <eid>',
    summary: 'what would happen to a packet to this EID now, and why',
    options: [
      ['--from <eid>', 'as if this EID sent it'],
      ['--instance-id <number>', 'of EIDs without one (default 0)'],
      ['--peer <node=socket...>', 'ask this daemon too: the Map-Server, the other site'],
      ['--lab <topology>', 'ask all daemons of this running lab'],
    ],
    examples: [
      "godwit why '[7]10.10.0.5'",
      'godwit why 10.10.0.5 --instance-id 7 --from 10.20.0.2 --node customer --lab two-clouds',
      "godwit why '[7]10.10.0.5' --peer mapping=/run/godwit/mapping.sock --json",
    ],
    run,
  },
]

async function run(context: CommandContext): Promise<void> {
  const query = queryString({
    eid: String(context.arguments[0]),
    from: textOption(context, 'from'),
    instanceId: numberOption(context, 'instanceId'),
  })
  const ask = (client: ApiClient): Promise<WhyAnswer> => client.get<WhyAnswer>(`/v1/why${query}`)
  const first = await ask(context.client())
  const answers = [first]
  const silent: string[] = []
  for (const { node, path } of peersOf(context)) {
    if (answers.some((one) => one.node === node)) continue
    try {
      const answer = await ask(createApiClient({ kind: 'socket', path }))
      if (!answers.some((one) => one.node === answer.node)) answers.push(answer)
    } catch (cause) {
      if (!(cause instanceof CliFailure)) throw cause
      silent.push(`${node}: ${cause.message}`)
    }
  }
  const comparison = answers.length > 1 ? compareAnswers(answers) : undefined
  if (context.json) {
    const whole = answers.length + silent.length > 1 ? { answers, comparison, silent } : first
    context.print(JSON.stringify(whole, null, 2))
    return
  }
  for (const answer of answers) printAnswer(context, answer, answer === first)
  if (comparison !== undefined) printComparison(context, comparison)
  for (const one of silent) context.print(coloured(context.colour, 'yellow', `no answer: ${one}`))
}

function peersOf(context: CommandContext): { node: string; path: string }[] {
  const given = context.options['peer']
  const named = (Array.isArray(given) ? given : []).map((text) => {
    const [, node = '', path = ''] = /^([^=]+)=(.+)$/.exec(String(text)) ?? []
    if (path !== '') return { node, path }
    throw new CliFailure(`"${String(text)}" is no peer`, 'as mapping=/run/godwit/mapping.sock', 2)
  })
  const lab = textOption(context, 'lab')
  return lab === undefined ? named : [...named, ...socketsOfLab(lab)]
}

function printAnswer(context: CommandContext, answer: WhyAnswer, isFirst: boolean): void {
  const { print, colour } = context
  const { verdict, eid } = answer
  const title = `${answer.node} (${answer.roles.join(', ')})`
  print(`${coloured(colour, 'bold', title)}: ${eid} ${tinted(colour, verdict.code, verdict.text)}`)
  for (const remark of answer.remarks) line(context, '!', coloured(colour, 'yellow', remark))
  for (const [name, text] of factsOf(answer)) line(context, name, text)
  for (const move of answer.moves) line(context, 'move', moveText(move))
  const events = isFirst ? answer.events : answer.events.slice(-PEER_EVENTS)
  for (const event of events) line(context, 'event', eventText(event))
  print('')
}

function printComparison({ print, colour }: CommandContext, comparison: Comparison): void {
  print(coloured(colour, 'bold', 'the way of a packet'))
  for (const [index, step] of comparison.path.entries()) print(`  ${index + 1}. ${step}`)
  if (comparison.findings.length === 0)
    print(coloured(colour, 'green', 'all that were asked agree'))
  for (const finding of comparison.findings) print(coloured(colour, 'red', `! ${finding}`))
}

function factsOf(answer: WhyAnswer): [string, string][] {
  const facts: [string, string][] = []
  const { local, mapCache, datapath } = answer
  if (local !== undefined) {
    const since =
      local.registeredAgoMs === undefined
        ? 'not registered'
        : `registered ${formatDuration(local.registeredAgoMs)} ago`
    const version = `version ${local.mapVersion}`
    facts.push(['own', `${local.eidPrefix} ${local.kind}, ${local.state}, ${version}, ${since}`])
  }
  if (mapCache !== undefined) {
    const { eidPrefix, action, origin, installedAgoMs, expiresInMs, mapVersion } = mapCache
    const lasts =
      origin === 'local' || origin === 'away' ? '' : `, for ${formatDuration(expiresInMs)} more`
    facts.push([
      'map-cache',
      `${eidPrefix} ${action}, by ${origin} ${formatDuration(installedAgoMs)} ago, ` +
        `version ${mapVersion}${lasts}`,
    ])
    const locators = formatLocators(mapCache.locators).split('\n')
    for (const locator of locators) facts.push(['locator', withState(locator, answer)])
    if (mapCache.counters !== undefined) {
      const { packets, bytes, idleMs } = mapCache.counters
      const used = idleMs === undefined ? 'never used' : `last ${formatDuration(idleMs)} ago`
      facts.push(['used', `${packets} packets, ${bytes} bytes, ${used}`])
    }
  }
  for (const { site, eidPrefix, owner, locators, mapVersion, ...one } of answer.registrations) {
    const where = locators.map(({ rloc }) => rloc).join(', ') || 'no locator'
    const times = `${formatDuration(one.registeredAgoMs)} ago, for ${formatDuration(one.expiresInMs)} more`
    facts.push([
      'registered',
      `${eidPrefix} at ${where} by ${owner} (${site}), version ${mapVersion}, ${times}`,
    ])
  }
  if (datapath !== undefined) {
    for (const { table, match, form, rlocs } of datapath.entries)
      facts.push(['datapath', [`${table}, by ${match}:`, form, ...rlocs].join(' ')])
    const { packets, bytes } = datapath.held
    if (packets > 0) facts.push(['hold', `${packets} packets (${bytes} bytes) wait, for all EIDs`])
  }
  return facts
}

function withState(locator: string, { locators }: WhyAnswer): string {
  const state = locators.find(({ rloc }) => locator.startsWith(`${rloc} `))
  if (state === undefined) return locator
  const { reachable, probing, roundTripMs, lastReplyAgoMs, lossPercent } = state
  if (!probing) return `${locator}, not probed`
  const last = lastReplyAgoMs === undefined ? 'never' : `${formatDuration(lastReplyAgoMs)} ago`
  const trip = formatDuration(roundTripMs)
  const loss = `${Math.round(lossPercent)}% lost`
  return `${locator}, ${reachable ? 'up' : 'down'}, round trip ${trip}, last answer ${last}, ${loss}`
}

function moveText({ moveId, trigger, state, source, destination, reason, timeline }: Move): string {
  const [first] = timeline
  const began = first === undefined ? '' : `, ${formatDuration(first.agoMs)} ago`
  const why = reason === undefined ? '' : ` (${reason})`
  return `${moveId} ${trigger}, ${source ?? '?'} → ${destination}, ${state}${why}${began}`
}

function eventText({
  at,
  name,
  severity: _severity,
  ...fields
}: WhyAnswer['events'][number]): string {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${fieldText(value)}`)
  return [at.slice(11, 23), name, ...rest].join('  ')
}

function line({ print, colour }: CommandContext, name: string, text: string): void {
  print(`  ${coloured(colour, 'dim', name.padEnd(NAME_WIDTH))} ${text}`)
}

function tinted(colour: boolean, code: WhyAnswer['verdict']['code'], text: string): string {
  return coloured(colour, TINTS[code] ?? 'green', text)
}

type Move = WhyAnswer['moves'][number]

const NAME_WIDTH = 10
const PEER_EVENTS = 5
const TINTS: Readonly<Partial<Record<WhyAnswer['verdict']['code'], Colour>>> = {
  dropped: 'red',
  'not-registered': 'red',
  'asked-for': 'yellow',
  'held-for-endpoint': 'yellow',
  redirected: 'yellow',
  'no-packets': 'dim',
}
