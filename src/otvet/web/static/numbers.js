// The long line of the numbers page. Without it the same figures stand in the table below.
"use strict";
(() => {
  const place = document.querySelector("#chart");
  const data = JSON.parse(place.dataset.series);
  if (data.days.length < 2) { place.hidden = true; return; }
  // A canvas knows no light-dark(): let the browser work the colour out on an element.
  const worked = (name) => { place.style.color = `var(${name})`; const found = getComputedStyle(place).color; place.style.color = ""; return found; };
  const draw = () => {
    place.replaceChildren();
    const line = (label, name) => ({ label, stroke: worked(name), width: 2, points: { show: data.days.length < 40 } });
    const axis = { stroke: worked("--soft"), grid: { stroke: worked("--line"), width: 1 }, ticks: { show: false } };
    const day = (at) => new Date(at * 1000).toLocaleDateString(document.documentElement.lang, { day: "numeric", month: "numeric" });
    new uPlot({
      width: place.clientWidth, height: 220, cursor: { drag: { x: false, y: false } },
      scales: { y: { range: (_plot, _least, most) => [0, Math.max(most || 0, 4)] } },
      axes: [{ ...axis, incrs: [1, 2, 7, 14, 28].map((days) => days * 86400), values: (_plot, at) => at.map(day) }, { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }],
      series: [{ value: (_plot, at) => (at === null ? "–" : day(at)), label: place.dataset.day }, line(place.dataset.answered, "--accent"), line(place.dataset.left, "--warn")],
    }, [data.days, data.answered, data.left], place);
  };
  draw();
  let later = null;
  addEventListener("resize", () => { clearTimeout(later); later = setTimeout(draw, 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
