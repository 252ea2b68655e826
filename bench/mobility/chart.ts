/**
 * Moves by the five ways as a picture: a dot for each move and a bar at the median, packets lost above,
 * the longest gap below. Plain SVG text, readable on light and dark pages. Pure.
 */

import type { Mobility, MobilityMove } from '../results.js'
import { WAY_WORDS, type Way } from './ways.js'

/** The whole file. */
export function drawMobility(mobility: Mobility, machine: string): string {
  const { ways, commit, date, packetsPerSecond, streams } = mobility
  const [width, height] = [LEFT + ways.length * COLUMN + 30, 2 * PANEL + 150]
  const downtime = Math.round(Math.max(0, ...ways.map((way) => way.downtimeMs)))
  const gaps = ways.flatMap(({ moves }) => moves.map(({ longestGapMs }) => longestGapMs))
  const counts = ways.flatMap(({ moves }) => moves.map(({ lost }) => lost))
  const lostAxis = logarithmic(Math.max(10, ...counts))
  const gapAxis = linear(Math.max(1.5 * downtime, ...gaps))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="30" y="28" font-size="17" fill="#222222">A virtual machine changes clouds, ${ways[0]?.moves.length ?? 0} times each way</text>`,
    `<text x="30" y="47" fill="#555555">${escapeXml(`It runs nowhere for ${downtime} ms; ${streams} streams of ${packetsPerSecond} packets a second. ${machine}, commit ${commit}, ${date}`)}</text>`,
    drawAxis('packets lost in a move', lostAxis, 70),
    ...ways.map((way, index) => drawDots(way.moves, index, lostAxis, 70, ({ lost }) => lost)),
    drawAxis('longest gap, ms (dashed: the machine’s own downtime)', gapAxis, 90 + PANEL),
    drawDowntime(gapAxis(downtime), 90 + PANEL, width),
    ...ways.map((way, index) =>
      drawDots(way.moves, index, gapAxis, 90 + PANEL, ({ longestGapMs }) => longestGapMs),
    ),
    ...ways.map(({ way }, index) => drawName(way, index, 2 * PANEL + 92)),
    '</svg>',
    '',
  ].join('\n')
}

interface Axis {
  (value: number): number
  readonly ticks: readonly number[]
}

/** 0 has a place of its own: it is the value that matters. */
function logarithmic(largest: number): Axis {
  const decades = Math.ceil(Math.log10(largest + 1))
  const scale = (value: number): number => (Math.log10(value + 1) / decades) * PLOT
  const ticks = [0, ...Array.from({ length: decades }, (_, index) => 10 ** (index + 1))]
  return Object.assign(scale, { ticks })
}

function linear(largest: number): Axis {
  const step = niceStep(largest / 5)
  const top = Math.ceil(largest / step) * step
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step)
  return Object.assign((value: number): number => (value / top) * PLOT, { ticks })
}

/** 1, 2 or 5 times a power of ten. */
function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)))
  const factor = [1, 2, 5, 10].find((one) => one * power >= rough) ?? 10
  return factor * power
}

function drawAxis(title: string, axis: Axis, y: number): string {
  const base = y + 20 + PLOT
  const lines = axis.ticks.map((value) => {
    const at = base - axis(value)
    return (
      `<line x1="${LEFT}" y1="${at}" x2="${LEFT + COLUMN * COLUMNS}" y2="${at}" stroke="#dddddd"/>` +
      `<text x="${LEFT - 6}" y="${at + 4}" text-anchor="end" fill="#555555">${value}</text>`
    )
  })
  const words = `<text x="30" y="${y + 6}" fill="#222222" font-size="13">${escapeXml(title)}</text>`
  return [words, ...lines].join('\n')
}

function drawDowntime(tall: number, y: number, width: number): string {
  const at = y + 20 + PLOT - tall
  return `<line x1="${LEFT}" y1="${at}" x2="${width - 30}" y2="${at}" stroke="#333333" stroke-dasharray="4 3"/>`
}

function drawDots(
  moves: readonly MobilityMove[],
  index: number,
  axis: Axis,
  y: number,
  pick: (move: MobilityMove) => number,
): string {
  const base = y + 20 + PLOT
  const middle = LEFT + (index + 0.5) * COLUMN
  const values = moves.map(pick)
  const dots = values.map((value, turn) => {
    const spread = values.length > 1 ? (turn / (values.length - 1) - 0.5) * DOTS_WIDTH : 0
    return `<circle cx="${round(middle + spread)}" cy="${round(base - axis(value))}" r="2.5" fill="${COLOR}" fill-opacity="0.65"/>`
  })
  const sorted = [...values].sort((left, right) => left - right)
  const median = sorted[sorted.length >> 1]
  if (median === undefined) return ''
  const at = round(base - axis(median))
  const bar = `<line x1="${middle - DOTS_WIDTH / 2}" y1="${at}" x2="${middle + DOTS_WIDTH / 2}" y2="${at}" stroke="${COLOR}" stroke-width="2"/>`
  const label = `<text x="${middle + DOTS_WIDTH / 2 + 5}" y="${at + 4}" fill="#222222">${Math.round(median * 10) / 10}</text>`
  return [...dots, bar, label].join('')
}

/** The words of a way in two lines, under its column. */
function drawName(way: Way, index: number, y: number): string {
  const middle = LEFT + (index + 0.5) * COLUMN
  const [first = '', second = ''] = WAY_WORDS[way].split(/[:,] (.*)/)
  const line = (text: string, at: number, fill: string): string =>
    `<text x="${middle}" y="${at}" text-anchor="middle" font-size="11" fill="${fill}">${escapeXml(text)}</text>`
  return line(first, y + 16, '#222222') + line(second, y + 31, '#555555')
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function escapeXml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')
}

const COLUMNS = 5
const COLUMN = 165
const LEFT = 70
const PANEL = 210
const PLOT = PANEL - 40
const DOTS_WIDTH = 90
const COLOR = '#c4562a'
