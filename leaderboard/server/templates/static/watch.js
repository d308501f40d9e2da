// Asks how a submission is getting on, and loads its page again when the state is another one.
const place = document.querySelector("[data-watch]");
async function look() {
  try {
    const answer = await fetch(place.dataset.watch, { headers: { accept: "application/json" } });
    const { state } = await answer.json();
    if (state && state !== place.dataset.state) location.reload();
  } catch {
    return; // the server starts again, or the network is away: the next look tells
  }
}
if (place) setInterval(look, 2000);
