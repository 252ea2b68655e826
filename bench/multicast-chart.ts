/**
 * The cost of copies as a picture: by fan-out, CPU per copy on the left, time at the root per packet on
 * the right; both axes of the right panel are logarithmic. Plain SVG text. Pure.
 */
import type { MulticastCost, MulticastRow } from './results.js'

/** The whole file. */
export function drawMulticast({ rows, commit, date }: MulticastCost, machine: string): string {
  const [width, height] = [2 * PANEL_WIDTH + 40, PANEL_HEIGHT + 120]
  const copies = rows.map(({ cpuNsPerCopy }) => cpuNsPerCopy)
  const top = Math.max(1, ...copies) * 1.15
  const roots = rows.map(({ rootNsPerPacket }) => rootNsPerPacket)
  const [low, high] = [Math.min(...roots, 1e9) / 2, Math.max(...roots, 1) * 2]
  const linear = (value: number) => (value / top) * PLOT
  const logarithmic = (value: number) => (Math.log(value / low) / Math.log(high / low)) * PLOT
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    '<text x="30" y="28" font-size="17" fill="#222222">A packet to a group, copied to many sites</text>',
    `<text x="30" y="47" fill="#555555">${escapeXml(`${machine}, commit ${commit}, ${date}`)}</text>`,
    drawPanel('CPU of the machine per copy, ns', rows, 'cpuNsPerCopy', linear, 30),
    drawPanel(
      'time at the root per packet, µs',
      rows,
      'rootNsPerPacket',
      logarithmic,
      30 + PANEL_WIDTH,
    ),
    drawLegend(30, height - 18),
    '</svg>',
    '',
  ].join('\n')
}

function drawPanel(
  title: string,
  rows: readonly MulticastRow[],
  key: 'cpuNsPerCopy' | 'rootNsPerPacket',
  scale: (value: number) => number,
  x: number,
): string {
  const base = 90 + PLOT
  const fanOuts = [...new Set(rows.map(({ fanOut }) => fanOut))]
  const step = (PANEL_WIDTH - 60) / Math.max(1, fanOuts.length)
  const bars = fanOuts.map((fanOut, index) => {
    const left = x + 20 + index * step
    const here = rows.filter((row) => row.fanOut === fanOut)
    const drawn = here.map((row, bar) => {
      const tall = Math.max(1, scale(row[key]))
      const at = left + bar * BAR
      const value = key === 'rootNsPerPacket' ? (row[key] / 1_000).toFixed(1) : row[key].toFixed(0)
      return (
        `<rect x="${at}" y="${base - tall}" width="${BAR - 3}" height="${tall}" fill="${COLORS[row.shape]}"/>` +
        `<text x="${at + BAR / 2}" y="${base - tall - 3}" text-anchor="middle" font-size="9" fill="#333333">${value}</text>`
      )
    })
    const middle = left + (here.length * BAR) / 2
    return `${drawn.join('')}<text x="${middle}" y="${base + 15}" text-anchor="middle" fill="#222222">${fanOut}</text>`
  })
  return [
    `<text x="${x}" y="78" fill="#222222" font-size="13">${escapeXml(title)}</text>`,
    `<line x1="${x}" y1="${base}" x2="${x + PANEL_WIDTH - 30}" y2="${base}" stroke="#333333"/>`,
    ...bars,
  ].join('\n')
}

function drawLegend(x: number, y: number): string {
  return [
    { color: COLORS['head-end'], text: 'the site copies to all', at: x },
    { color: COLORS.tree, text: 'two levels of relays', at: x + 180 },
  ]
    .map(
      ({ color, text, at }) =>
        `<rect x="${at}" y="${y - 10}" width="12" height="12" fill="${color}"/><text x="${at + 17}" y="${y}" fill="#222222">${text}</text>`,
    )
    .concat(`<text x="${x + 360}" y="${y}" fill="#555555">below the bars: receivers</text>`)
    .join('\n')
}

function escapeXml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')
}

const COLORS = { 'head-end': '#c4562a', tree: '#5b7fa6' } as const
const PANEL_WIDTH = 400
const PANEL_HEIGHT = 260
const PLOT = 220
const BAR = 34
