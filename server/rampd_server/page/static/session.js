// A browser has one credential for all of its tabs. Each page tells the others whom the server has made it for, so that no tab goes
// on as somebody else.
const channel = new BroadcastChannel("session");

// Absent: the page is made for nobody. Empty: the server does not know the person.
export const person = document.body.dataset.person;

export const tell = () => person !== undefined && channel.postMessage(person);

export const hear = (heard) => channel.addEventListener("message", (event) => heard(event.data));

// Asks for the page again, and sends no form again.
export const again = () => location.replace(location.pathname + location.search);
