import { control, show, tell } from './dom.js'
import { Lane } from './lane.js'
import { Sending } from './sending.js'

const FIRST_LANES = 2
const lanes = []
const sending = new Sending()
const add = document.querySelector('.add')
/** What the server said last. */
let newest
/** Boxes whose change is on its way to the server. */
const asking = new Set()

/** Adds a client. Each has a path of its own. */
function addLane({ paths }) {
  const index = lanes.length
  const lane = new Lane(index, document.querySelector('.lanes'))
  lanes.push(lane)
  if (index === 0) lane.onstart = () => sending.open(lane)
  void lane.start(`${location.protocol}//${location.hostname}:${paths[index].port}`)
  lane.root.querySelector('.leave').addEventListener('click', () => {
    lanes.pop().leave()
    showLeave()
    add.focus()
  })
  showLeave()
}

/** The last client may leave. The first one has the outbox, and stays. */
function showLeave() {
  for (const { root } of lanes) root.querySelector('.leave').hidden = root !== lanes.at(-1).root || lanes.length === 1
  add.hidden = lanes.length === newest.paths.length
}

function update(status) {
  show(document.querySelector('[data-server="published"]'), status.published)
  show(document.querySelector('[data-server="open"]'), Object.keys(status.connections).length)
  show(document.querySelector('[data-server="where"]'), status.where)
  showSwitch('flow', status.flowing)
  showSwitch('heartbeats', status.heartbeats)
  for (const lane of lanes) lane.update(status)
}

/** While the server is being asked for something else, what it said before would undo the click. */
function showSwitch(name, on) {
  const box = document.querySelector(`[data-switch="${name}"]`)
  if (!asking.has(box)) box.checked = on
}

new EventSource('/status').addEventListener('message', ({ data }) => {
  newest = JSON.parse(data)
  if (lanes.length === 0) for (let i = 0; i < FIRST_LANES; i++) addLane(newest)
  update(newest)
})

async function ask(name) {
  const { ok, text } = await control(name)
  const answer = document.querySelector('.answer')
  tell(answer, text)
  answer.classList.toggle('refused', !ok)
}

add.addEventListener('click', () => {
  addLane(newest)
  update(newest)
})
for (const button of document.querySelectorAll('[data-control]')) {
  button.addEventListener('click', () => void ask(button.dataset.control))
}
for (const box of document.querySelectorAll('[data-switch]')) {
  box.addEventListener('change', async () => {
    asking.add(box)
    await ask(`${box.dataset.switch}?on=${box.checked ? 1 : 0}`).finally(() => asking.delete(box))
  })
}
document.querySelector('.curl').textContent = `curl -N '${location.origin}/events?from=earliest'`
