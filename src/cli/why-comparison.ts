/**
 * What several nodes say of one EID, side by side: who is out of date, and whose packets end where.
 * Pure; the sentences are for an operator who has been woken up.
 */
import type { WhyAnswer } from '../api/why-views.js'

export interface Comparison {
  /** From the first node on, where a packet goes, node by node. */
  readonly path: readonly string[]
  /** What does not agree; empty when all is well. */
  readonly findings: readonly string[]
}

/** `answers`: the node that was asked first, then its peers; each node once. */
export function compareAnswers(answers: readonly WhyAnswer[]): Comparison {
  const [first] = answers
  if (first === undefined) return { path: [], findings: [] }
  const path = pathFrom(first, answers)
  return { path: path.steps, findings: [...path.findings, ...compareWithMapServer(answers)] }
}

function pathFrom(
  first: WhyAnswer,
  answers: readonly WhyAnswer[],
): { steps: string[]; findings: string[] } {
  const steps: string[] = []
  const findings: string[] = []
  const visited = new Set<string>()
  let at: WhyAnswer | undefined = first
  while (at !== undefined) {
    if (visited.has(at.node)) {
      findings.push(`packets go in a circle: ${[...visited, at.node].join(' → ')}`)
      break
    }
    visited.add(at.node)
    const to: string[] = nextOf(at, at === first)
    const { node, verdict } = at
    steps.push(`${node}: ${at === first ? verdict.text : arrivalText(at)}`)
    if (to.length === 0) {
      if (at !== first && !isHere(at))
        findings.push(`packets end at ${node}, which does not have the EID`)
      break
    }
    const next: WhyAnswer | undefined = answers.find(({ rlocs }) =>
      rlocs.some((one) => to.includes(one)),
    )
    if (next === undefined) steps.push(`${to.join(', ')}: not asked (name it with --peer)`)
    at = next
  }
  return { steps, findings }
}

/** Where a packet goes next: a first node encapsulates, a later one only redirects who has left. */
function nextOf({ verdict, mapCache, local }: WhyAnswer, isFirst: boolean): string[] {
  if (verdict.code === 'redirected') return (local?.locators ?? []).map(({ rloc }) => rloc)
  if (!isFirst || verdict.code !== 'encapsulated') return []
  const usable = (mapCache?.locators ?? []).filter(({ reachable }) => reachable)
  const best = Math.min(...usable.map(({ priority }) => priority))
  return usable.filter(({ priority }) => priority === best).map(({ rloc }) => rloc)
}

/** From the core only the own EIDs of a node are looked at. */
function arrivalText(answer: WhyAnswer): string {
  const { code, text } = answer.verdict
  if (code === 'redirected' || code === 'held-for-endpoint' || isHere(answer)) return text
  return 'does not have the EID: packets that come from the core are dropped (unknown-eid)'
}

function isHere({ verdict }: WhyAnswer): boolean {
  return verdict.code === 'delivered-here' || verdict.code === 'held-for-endpoint'
}

function compareWithMapServer(answers: readonly WhyAnswer[]): string[] {
  const findings: string[] = []
  const servers = answers.filter(({ roles }) => roles.includes('map-server'))
  const here = answers.filter(({ verdict }) => verdict.code === 'delivered-here')
  if (here.length > 1)
    findings.push(`${here.map(({ node }) => node).join(' and ')} both have the EID`)
  for (const server of servers) {
    const { registrations, node } = server
    if (registrations.length === 0) {
      if (here[0] !== undefined)
        findings.push(`${here[0].node} has the EID, but it is not registered at ${node}`)
      continue
    }
    const registered = registrations.flatMap(({ locators }) => locators.map(({ rloc }) => rloc))
    for (const answer of answers) {
      if (answer === server) continue
      const stale = staleness(answer, registered, registrations[0]!.mapVersion, node)
      if (stale !== undefined) findings.push(stale)
    }
    const [owner] = here
    if (owner !== undefined && !owner.rlocs.some((one) => registered.includes(one)))
      findings.push(
        `${owner.node} has the EID, ${node} has it registered at ${registered.join(', ')}`,
      )
  }
  return findings
}

function staleness(
  { node, mapCache, verdict }: WhyAnswer,
  registered: readonly string[],
  version: number,
  server: string,
): string | undefined {
  if (mapCache === undefined || verdict.code !== 'encapsulated') return undefined
  const used = mapCache.locators.map(({ rloc }) => rloc)
  if (used.some((one) => registered.includes(one))) return undefined
  const versions = `version ${mapCache.mapVersion} against ${version}`
  return (
    `${node} is out of date: it sends to ${used.join(', ')}, ${server} says ` +
    `${registered.join(', ')} (${versions}); "godwit clear map-cache" at ${node} makes it ask again`
  )
}
