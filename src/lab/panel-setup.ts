/**
 * The process that sets up one patch panel: run inside the panel's network namespace, because a
 * program attaches to interfaces of its own namespace only. Ends at once; the links stay, pinned.
 *
 * `panel-setup.js SETUP` attaches; `panel-setup.js --flip PINS LEG` switches an existing panel, for
 * shells and Mininet. SETUP is the JSON of a PanelSetup.
 */
import { attachPanel, type PanelSetup, switchPanel } from './panel.js'

const [first = '{}', pins = '', leg = ''] = process.argv.slice(2)
if (first === '--flip') switchPanel(pins, Number(leg))
else attachPanel(JSON.parse(first) as PanelSetup)
